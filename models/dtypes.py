"""Which number format a model runs in; on a CPU, which one is faster."""

import json
import os
import statistics
import time
from functools import cache
from pathlib import Path

import torch
from torch.nn import functional as F

from models.cache_folder import cache_root, machine
from models.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# bfloat16 rounds more, so it has to be clearly faster.
_WORTH_IT = 0.8
# A matrix that no processor's cache holds four of.
_SIDE, _COPIES, _ROUNDS = 3072, 4, 7


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
    """Time of matrix-vector products in bfloat16 over that in float32; measured once a machine, and kept.

    Parameters
    ----------
    threads : int
        Torch's, as they are set now.
    """
    path = cache_root() / "dtype.json"
    key = f"{machine()} {threads} threads"
    known = _known(path)
    if key in known:
        return known[key]
    ratio = _measured()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(f".{os.getpid()}")
        work.write_text(json.dumps({**known, key: ratio}))
        work.replace(path)
    except OSError:
        # Then the next process measures again.
        pass
    return ratio


def _known(path: Path) -> dict[str, float]:
    """What earlier processes found."""
    try:
        return {key: float(ratio) for key, ratio in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _measured() -> float:
    """Median ratio of rounds in which both take turns."""
    weights = [torch.ones(_SIDE, _SIDE) for _ in range(_COPIES)]
    sides = [weights, [weight.bfloat16() for weight in weights]]
    states = [torch.ones(1, _SIDE), torch.ones(1, _SIDE, dtype=torch.bfloat16)]
    rounds = []
    with torch.inference_mode():
        for _ in range(_ROUNDS):
            seconds = []
            for state, matrices in zip(states, sides, strict=True):
                began = time.perf_counter()
                for matrix in matrices:
                    F.linear(state, matrix)
                seconds.append(time.perf_counter() - began)
            rounds.append(seconds[1] / seconds[0])
    # The first round allocates and chooses kernels.
    return statistics.median(rounds[1:])
