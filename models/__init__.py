"""A causal LM opened into sub-layers; needs torch and transformers alone."""
