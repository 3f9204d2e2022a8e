"""Which number format a model runs in; on a CPU, which one is faster."""

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from models.cache_folder import remembered
from models.errors import ModelError
from models.kernels import Kernels, kernels
from models.product import SIDE, Choice, each, sample_matrices, seconds

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# bfloat16 rounds more, so it has to be clearly faster.
_WORTH_IT = 0.8


def resolve_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of a name.

    Parameters
    ----------
    name : str or None
        float32, bfloat16, float16; auto: what this machine decodes faster with, bfloat16 on CUDA; None:
        float32 on a CPU, whatever is faster, and bfloat16 on CUDA.
    device : torch.device
    """
    if name in (None, "auto") and device.type == "cuda":
        return torch.bfloat16
    if name is None:
        return torch.float32
    if name == "auto":
        return torch.bfloat16 if bfloat16_time(torch.get_num_threads()) <= _WORTH_IT else torch.float32
    if name not in DTYPES:
        raise ModelError(f"dtype={name} is unknown; choose auto, {', '.join(DTYPES)}")
    return DTYPES[name]


@cache
def bfloat16_time(threads: int) -> float:
    """Time of matrix-vector products in bfloat16 over that in float32, as fast as this machine does them.

    Parameters
    ----------
    threads : int
        Torch's, as they are set now.
    """
    return float(remembered("dtype.json", f"{threads} threads {_product()[0]}", _measured, float))


def _product() -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    """How one vector is multiplied here, and its name."""
    library = kernels()
    if isinstance(library, Kernels):
        return library.name, lambda vector, matrix: library.product(matrix, None, vector, Choice().way(1))
    return "linear", F.linear


def _measured() -> float:
    sides = [
        each(partial(_product()[1], torch.ones(1, SIDE, dtype=dtype)), sample_matrices(dtype))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    plain, short = seconds(sides)
    return short / plain
