"""Metrics that several tasks share; each works on stored text and token ids alone."""
