"""Where what is made or measured once per machine is kept, and what a machine is."""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

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
    known = _known(path)
    if key in known:
        try:
            check(known[key])
            return known[key]
        except (ValueError, TypeError, LookupError):
            # Damaged: measured anew.
            pass
    found = measure()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = path.with_suffix(f".{os.getpid()}")
        work.write_text(json.dumps({**known, key: found}))
        work.replace(path)
    except OSError:
        # Then the next process measures again.
        pass
    return found


def _known(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
