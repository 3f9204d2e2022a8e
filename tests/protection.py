"""A protection of results, machine or keys, and the test that fails without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protection:
    """Words of a file, what remains of them, and the test that then fails, or never ends."""

    file: str
    old: str
    new: str
    test: str
    endless: bool = False
