"""Arithmetic that decides something is float32, whatever the model's dtype.

bfloat16 has three values between .98 and .99, so a threshold on a bfloat16 similarity is not a threshold.
"""

import torch
from torch import Tensor

from models.kernels import DTYPES, Kernels, kernels


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two states, clipped to [-1, 1].

    Parameters
    ----------
    a, b : Tensor [..., width]

    Returns
    -------
    Tensor [...], float32
    """
    if a.device.type == "cpu" and a.dtype == b.dtype and a.shape == b.shape and a.dtype in DTYPES:
        # Seven small operations of torch cost more than the sub-layer of a small model that they decide on.
        library = kernels()
        if isinstance(library, Kernels):
            return library.cosines(a, b)
    a, b = a.float(), b.float()
    dot = torch.linalg.vecdot(a, b)
    norms = torch.linalg.vector_norm(a, dim=-1) * torch.linalg.vector_norm(b, dim=-1)
    # A state of zeros has no direction; the floor makes its cosine 0 rather than NaN.
    return (dot / norms.clamp_min(1e-30)).clamp(-1.0, 1.0)
