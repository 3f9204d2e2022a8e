"""What a person who is waiting wants to know, in characters that leave a terminal alone."""

import sys
import unicodedata


def say(text: str) -> None:
    """Print a line to a terminal; say nothing where nobody is watching."""
    if sys.stderr.isatty():
        print(printable(text), file=sys.stderr)


def printable(text: str) -> str:
    """Return the text with control and formatting characters as escapes: it cannot steer a terminal."""
    return "".join(
        char
        if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        else ascii(char)[1:-1]
        for char in text
    )
