"""The moment that chat templates write into prompts: one for a run, and for all runs of a results folder.

Some templates begin with the date of today. Left alone, a run that goes on tomorrow would mix prompts of two
dates, and no run of today could be set against one of yesterday.
"""

import contextlib
import os
import socket
from datetime import datetime
from pathlib import Path

from runners.files import explained, write_text
from runners.reuse import stored_config
from runners.settings import parsed_moment
from runners.storage import RunFolder

FILE = ".moment"


def prompt_moment(run: RunFolder, given: str | None, *, resumed: bool) -> datetime:
    """The moment of a run: the one given, the run's own from its first start, or the results folder's, which
    begins with the first run that asks.

    Raises
    ------
    RunError
        A moment that is stored cannot be read, or not be stored.
    """
    if given is not None:
        return parsed_moment(given, "runner.now")
    if resumed:
        stored = stored_config(run).get("prompt_moment")
        if stored is not None:
            return parsed_moment(stored, str(run.path / "config.yaml"))
    path = run.root / FILE
    if (known := _read(path)) is not None:
        return known
    with explained("create", run.root):
        run.root.mkdir(parents=True, exist_ok=True)
    return _first(path, datetime.now().replace(microsecond=0))


def _read(path: Path) -> datetime | None:
    with explained("read", path):
        try:
            return parsed_moment(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            return None


def _first(path: Path, moment: datetime) -> datetime:
    """Store a moment, unless another job has been first: then that job's."""
    own = path.with_name(f"{FILE}.{socket.gethostname()}.{os.getpid()}")
    write_text(own, moment.isoformat() + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
    except OSError:
        # A file system without links.
        write_text(path, moment.isoformat() + "\n")
    finally:
        own.unlink(missing_ok=True)
    return _read(path) or moment
