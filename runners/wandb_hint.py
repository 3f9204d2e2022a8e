"""A word for those whom Weights & Biases has never met: said once, and never again on this machine."""

import netrc
import os
from pathlib import Path

from models.cache_folder import cache_root
from models.errors import ModelError
from runners.notices import say
from runners.wandb_logger import Destination

_SAID = "wandb-suggested"


def suggest_none(to: Destination) -> None:
    """Say that `logger=none` leaves W&B's files out, to who keeps them and has never logged in."""
    if to.mode != "offline" or _logged_in():
        return
    try:
        mark = cache_root() / _SAID
        mark.parent.mkdir(parents=True, exist_ok=True)
        # Two at the same time say it once.
        mark.open("x").close()
    except (OSError, ModelError):
        return
    say("This run is also kept for Weights & Biases, offline; if you do not use it: logger=none")


def _logged_in() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        path = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
        return any("wandb" in host for host in netrc.netrc(str(path)).hosts)
    # RuntimeError: there is no home folder.
    except (OSError, RuntimeError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
