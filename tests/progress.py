"""Lines in which a command says on stderr how it goes, apart from what went wrong."""

import re

_LINE = re.compile(r"^\[\d\d:\d\d:\d\d\] (.*)\n", re.MULTILINE)


def errors_in(stderr: str) -> str:
    """What is left of a log without its lines of progress."""
    return _LINE.sub("", stderr)


def progress_in(stderr: str) -> list[str]:
    """The lines of progress, without the time of day."""
    return _LINE.findall(stderr)
