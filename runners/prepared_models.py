"""The models of `conf/model/`: those that have a name."""

from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_FOLDER = Path(__file__).resolve().parents[1] / "conf" / "model"
# The door to any other model; it has no path of its own.
HUB = "hub"


@cache
def prepared_models() -> dict[str, dict[str, Any]]:
    """The keys of every choice of `model=`, by its name, `hub` left out."""
    files = sorted(file for file in _FOLDER.glob("*.yaml") if file.stem != HUB)
    return {file.stem: OmegaConf.to_container(OmegaConf.load(file)) for file in files}  # type: ignore[misc]
