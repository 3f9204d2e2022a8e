"""What a person who is waiting wants to know."""

import sys


def say(text: str) -> None:
    """Print a line to a terminal; say nothing where nobody is watching."""
    if sys.stderr.isatty():
        print(text, file=sys.stderr)
