"""Standard streams that may be closed, full, unread or of a narrow alphabet: the work goes on."""

import errno
import io
import os
import sys
from typing import TextIO


class _Outlet(io.FileIO):
    """An open file to which writing never fails; why it failed first is kept."""

    refused: OSError | None = None

    def write(self, content: "io._io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        try:
            return super().write(content)
        except OSError as error:
            self.refused = self.refused or error
            return memoryview(content).nbytes


def steady() -> None:
    """Put streams in place that no reader who goes away, full disk or letter can end the process through."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened would get what libraries and children write to this number.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout, sys.stderr = _steady(sys.stdout, 1), _steady(sys.stderr, 2)


def unwritten() -> str | None:
    """Why not all of the output was written, in words; None: it was, or nobody reads it any more."""
    sys.stdout.flush()
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    refused = outlet.refused if isinstance(outlet, _Outlet) else None
    if refused is None or refused.errno == errno.EPIPE:
        return None
    return f"the output cannot be written: {refused.strerror}"


def _steady(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        try:
            stream.flush()
            # Another's, such as that of a test.
            if not isinstance(stream, io.TextIOWrapper) or stream.fileno() != number:
                return stream
        except (OSError, ValueError):
            return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(number, "w", closefd=False)),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
