"""Where what is made or measured once per machine is kept, and what a machine is."""

import hashlib
import json
import os
import platform
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from models.errors import ModelError
from models.places import expanded


def cache_root() -> Path:
    """The user's cache folder: $SKIPBENCH_CACHE, else $XDG_CACHE_HOME/skipbench, else ~/.cache/skipbench."""
    if own := os.environ.get("SKIPBENCH_CACHE"):
        return expanded(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return expanded(shared) / "skipbench"
    try:
        return Path.home() / ".cache" / "skipbench"
    except RuntimeError:
        raise ModelError("there is no home folder to keep converted models in; set SKIPBENCH_CACHE") from None


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


def remembered(file: str, what: str, measure: Callable[[], Any], check: Callable[[Any], Any]) -> Any:
    """What was measured on this machine, now or by an earlier process.

    Parameters
    ----------
    file : str
        A JSON file of the cache folder.
    what : str
        Everything that the measurement depends on, the machine excepted.
    measure : callable
        Its result must be JSON.
    check : callable
        Raises ValueError, TypeError or LookupError on a stored result that is none.
    """
    path, key = cache_root() / file, f"{machine()} {what}"

    def stored() -> Any:
        value = _known(path).get(key)
        if value is not None:
            with suppress(ValueError, TypeError, LookupError):
                check(value)
                return value
        # Unknown, or damaged: measured anew.
        return None

    if (value := stored()) is not None:
        return value
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two that measure at the same time would disturb each other, and might not agree.
        with FileLock(f"{path}.lock", fallback_to_soft=False):
            if (value := stored()) is None:
                value = measure()
                work = path.with_suffix(f".{socket.gethostname()}.{os.getpid()}")
                work.write_text(json.dumps({**_known(path), key: value}))
                work.replace(path)
    except OSError:
        # Then the next process measures again.
        value = measure() if value is None else value
    return value


def _known(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
