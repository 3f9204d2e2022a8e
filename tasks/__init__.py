"""Tasks: what is asked of a model, and how its answers are scored.

One file per task (found by `tasks.registry`), `sources/` for reading data sets, `scoring/` for metrics that
several tasks share, and `data/` for the embedded sets. Nothing here knows of models, methods or runs.
"""
