"""Where paths lead: one place has one spelling, however it was written."""

import os
from pathlib import Path

from models.errors import ModelError


def expanded(path: str | Path) -> Path:
    """The path with a leading `~` or `~user` replaced by that home folder.

    Raises
    ------
    ModelError
        There is no such user, or no home folder: a folder named `~` is nobody's wish.
    """
    text = os.path.expanduser(path)
    if text.startswith("~") and not os.path.lexists(text):
        home = str(path).partition("/")[0]
        other = "" if home == "~" else f"; write ./{path} for a file of that name"
        raise ModelError(f"{path}: there is no home folder {home}{other}")
    return Path(text)


def canonical(path: str) -> str:
    """The absolute path of what is there, without links, dots and doubled slashes; what is not there, such as
    a hub id, as it is."""
    local = os.path.expanduser(path)
    return os.path.realpath(local) if os.path.exists(local) else path


def same(one: object, other: object) -> bool:
    """Whether two values agree; texts also where both lead to one place."""
    texts = isinstance(one, str) and isinstance(other, str)
    return one == other or (texts and canonical(str(one)) == canonical(str(other)))


def last_part(path: str) -> str:
    """What a model is called by its path: the name of its folder or file, by whatever way it was reached."""
    there = canonical(path)
    # The store of the hub has links with names to files without.
    if os.path.isfile(there) and not there.endswith(".gguf"):
        there = path
    return os.path.basename(os.path.normpath(there))
