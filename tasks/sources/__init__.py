"""Where examples come from: embedded sets, files in public formats, and data sets of the Hugging Face hub."""
