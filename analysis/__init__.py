"""Reads results and shows them; knows nothing of how they were made but `runners.schema`."""

from analysis.frames import AnalysisError, load_metrics, load_samples

__all__ = ["AnalysisError", "load_metrics", "load_samples"]
