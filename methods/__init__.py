"""Decoding methods, one file each, reading like the pseudocode of their papers; needs torch and transformers
alone.

The name of the file is the configuration key: `methods/ffnskip.py` is `method=ffnskip`.
"""
