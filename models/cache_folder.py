"""Where what is made once a machine is kept, and what a machine is."""

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

import torch


def cache_root() -> Path:
    """The user's cache folder: $SKIPBENCH_CACHE, else $XDG_CACHE_HOME/skipbench, else ~/.cache/skipbench."""
    if "SKIPBENCH_CACHE" in os.environ:
        return Path(os.environ["SKIPBENCH_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skipbench"


@cache
def machine() -> str:
    """Hash of what compiled code and its speed depend on: torch, and the processor with all it can do.

    A home folder may be shared by machines that differ.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    told = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))} or lines)
    facts = "\n".join([torch.__version__, platform.machine(), *told])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
