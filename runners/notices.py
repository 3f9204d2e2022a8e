"""What a person who is waiting wants to know, in characters that leave a terminal alone."""

import contextlib
import sys
import time
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from models.notices import ModelNotice

_shown: set[str] = set()


def say(text: str) -> None:
    """Print a line on stderr: as it is to a terminal, with the time of day into a log."""
    line = printable(text)
    # Nobody may be there to read it any more.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if not sys.stderr.isatty():
            line = time.strftime("[%H:%M:%S] ") + line
        print(line, file=sys.stderr, flush=True)


def say_left_out(skipped: Sequence[str], shown: int = 3) -> None:
    """Say which records were left out and why, in a line, if there are any."""
    if not skipped:
        return
    more = f"; and {len(skipped) - shown} more, named in config.yaml" if len(skipped) > shown else ""
    records = "record" if len(skipped) == 1 else "records"
    first = "; ".join(skipped[:shown])
    say(f"Left out {len(skipped)} {records} (task.on_bad_record=skip): {first}{more}")


def printable(text: str) -> str:
    """Return the text with control and formatting characters as escapes: it cannot steer a terminal."""
    return "".join(
        char
        if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        else ascii(char)[1:-1]
        for char in text
    )


@contextlib.contextmanager
def model_notices() -> Iterator[None]:
    """Say what the models room warns of, each line once per process."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ModelNotice)
        shown_before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, ModelNotice):
                shown_before(message, category, *place, **more)
            elif str(message) not in _shown:
                _shown.add(str(message))
                say(f"Note: {message}")

        warnings.showwarning = show
        yield
