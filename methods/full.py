"""Every sub-layer, every step: the baseline that a speedup is measured against."""

from methods.shared.method import Method


class Full(Method):
    """The full model on our engine; greedy fp32 output equals transformers' `generate` token for token."""

    drawn = "#000000 *"
    lossless = True
