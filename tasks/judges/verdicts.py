"""What a judge's words mean."""

import re

_RATING = re.compile(r"\[\[\s*(\d+(?:\.\d+)?)\s*(?:/\s*10\s*)?\]\]")
_WINNER = re.compile(r"\[\[\s*([ABC])\s*\]\]")


def ratings(text: str, count: int) -> list[float] | None:
    """Return the last `count` ratings from 1 to 10 in double square brackets; None if they are not there.

    The last, because a judge may quote the example of its instructions before it grades.
    """
    found = [float(number) for number in _RATING.findall(text)]
    if len(found) < count or not all(1 <= number <= 10 for number in found[-count:]):
        return None
    return found[-count:]


def winner(text: str) -> str | None:
    """Return A, B or C (a tie) as the last verdict in double square brackets says; None if none does."""
    found = _WINNER.findall(text)
    return found[-1] if found else None
