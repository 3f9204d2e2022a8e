"""Reads results and shows them; of the runners it knows `schema` and `statistics` alone."""

from analysis.frames import AnalysisError, load_judgements, load_metrics, load_samples

__all__ = ["AnalysisError", "load_judgements", "load_metrics", "load_samples"]
