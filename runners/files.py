"""Writing files so that a reader, or a resumed run, never meets half of one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from runners.errors import RunError

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into a one-line `RunError`: "cannot <action> <path>: <reason>"."""
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error or type(error).__name__).splitlines()[0]
        raise RunError(f"cannot {action} {path}: {reason}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step: whatever happens, the old file or the new one is there, whole.

    Raises
    ------
    RunError
        The file cannot be written (no permission, disk full, folder gone). The old file is untouched.
    """
    # In the same folder, because a rename is atomic only within one file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
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


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what a killed process left of a `write_bytes`; only for the one process that may write here."""
    with explained("clean", folder):
        for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames, creations and removals in the folder survive a power failure, where the system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to synchronise a folder; the file itself is already safe.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
