"""Judges: language models that grade or compare answers."""
