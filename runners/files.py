"""Writing files so that a reader, or a resumed run, never meets half of one."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from io import RawIOBase
from logging import getLogger
from pathlib import Path

from filelock import FileLock, Timeout

from runners.errors import RunError

TEMPORARY_SUFFIX = ".partial"
_HOUR_S = 3600
_log = getLogger(__name__)


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into a one-line `RunError`: "cannot <action> <path>: <reason>"."""
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error or type(error).__name__).splitlines()[0]
        raise RunError(f"cannot {action} {path}: {reason}") from error


@contextlib.contextmanager
def held(path: Path, busy: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock file for this process; the system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    path
        In a folder that is made if need be.
    busy
        What to say where another process holds it.
    wait
        Wait, with a notice, until the other lets go; otherwise that is an error.
    """
    with explained("create", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    # A soft lock, which a file system without locks would get, outlives a holder that is killed.
    lock = FileLock(path, fallback_to_soft=False)
    with explained("lock", path):
        try:
            lock.acquire(timeout=0)
        except Timeout as other:
            if not wait:
                raise RunError(busy) from other
            _log.warning("%s; waiting for it", busy)
            lock.acquire()
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            raise RunError(
                f"cannot lock {path}: its file system has no locks; choose another results_dir"
            ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether another process holds a lock file; where nobody can tell, none does."""
    if not path.exists():
        return False
    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def write_all(file: RawIOBase, content: bytes) -> None:
    """Write to an unbuffered file, which may take a part at a time, and return when it is on disk."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: whatever happens, the old file or the new one is there, whole.

    Raises
    ------
    RunError
        The file cannot be written (no permission, disk full, folder gone). The old file is untouched.
    """
    # In the same folder, because a rename is atomic only within one file system.
    # No other process has such a name, not even on another machine.
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}{TEMPORARY_SUFFIX}")
    with explained("write", path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8 in one step; half of a surrogate pair is written as an escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def remove_temporaries(folder: Path, now: Path | None = None) -> None:
    """Remove what killed processes left of a `write_bytes`.

    Parameters
    ----------
    folder
    now
        A file that has just been written there, for folders into which several processes write: what is an
        hour older belongs to none of them, by the file system's own clock. None is for the one process that
        may write here.
    """
    with explained("clean", folder):
        for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            # Gone: another process cleans too.
            with contextlib.suppress(FileNotFoundError):
                if now is None or leftover.stat().st_mtime < now.stat().st_mtime - _HOUR_S:
                    leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals in the folder survive a power failure, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to synchronise a folder; the file itself is already safe.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
