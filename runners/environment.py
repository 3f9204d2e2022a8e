"""The machine, the libraries and the revision of this code, for `environment.json`."""

import functools
import importlib
import importlib.metadata
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

LIBRARIES = [
    *("torch", "transformers", "tokenizers", "safetensors", "gguf", "numpy", "scipy", "pyarrow"),
    *("hydra-core", "omegaconf", "filelock", "wandb"),
]
_ROOT = Path(__file__).resolve().parents[1]


def environment() -> dict[str, Any]:
    """Return what results depend on besides the configuration; what cannot be found out is None.

    The command line and environment variables are left out: either may hold a secret, and the configuration
    is stored by itself.
    """
    commit, dirty = _git_state()
    return {
        "utc": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "code_revision": code_revision(),
        "git_commit": commit,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory_bytes": _memory_bytes(),
        "versions": {name: _version(name) for name in LIBRARIES},
        **_torch_state(),
    }


def code_revision() -> str | None:
    """Return the short commit of this code, "+dirty" appended if files differ from it; None outside git."""
    commit, dirty = _git_state()
    return None if commit is None else commit[:7] + ("+dirty" if dirty else "")


@functools.cache
def _git_state() -> tuple[str | None, bool | None]:
    # Tracked here, and not merely below some folder that is a repository, such as a home folder.
    if _git("ls-files", "--error-unmatch", "--", __file__) is None:
        return None, None
    commit, changes = _git("rev-parse", "--verify", "HEAD"), _git("status", "--porcelain")
    if not commit or changes is None:
        return None, None
    return commit, bool(changes)


def _git(*arguments: str) -> str | None:
    # Git hooks set GIT_DIR and the like; without optional locks, asking never writes the index.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=True,
            env={**inherited, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def cpu_model() -> str | None:
    """Return the processor's name."""
    # `platform.processor` is empty on most Linux systems, so the kernel is asked first.
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware"):
            return value.strip()
    return platform.processor() or platform.machine() or None


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _torch_state() -> dict[str, Any]:
    """Devices and threads as torch sees them; imported only here, because torch takes seconds to load."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return {"devices": None, "cuda": None, "threads": None}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [torch.cuda.get_device_name(index) for index in range(count)]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"devices": devices, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
