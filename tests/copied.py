"""The project without its history, in another folder."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ROOMS = ("conf", "models", "methods", "tasks", "runners", "analysis", "hydra_plugins", "scripts", "tests")
_FILES = ("run.py", "pyproject.toml", "Makefile")


def copy_project(folder: Path) -> None:
    """Copy what runs and what tests it, so that a test may change it."""
    for name in _ROOMS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, folder / name)
