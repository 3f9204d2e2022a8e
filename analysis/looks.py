"""How methods are drawn, on the page as in figures: each with a colour and a marker of its own."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Okabe and Ito's colours, told apart with every common form of colour blindness; without the yellow, which
# paper swallows, and with grey for black, which is the full model.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "d")
# As many as there are of one colour and one marker: 7 and 12 have no divisor in common.
_PAIRS = len(COLOURS) * len(MARKERS)


@dataclass(frozen=True)
class Look:
    """How a method is drawn: `#rrggbb`, and one of matplotlib's letters."""

    colour: str
    marker: str


FULL = Look("#000000", "*")


def looks(runs: Iterable[Mapping[str, Any]]) -> dict[str, Look]:
    """A colour and a marker for every method of some runs, and for the full model.

    A method has those that it declares (`drawn`). One that declares none, or what another has already, has a
    pair that follows from its name, and the next free one where two would be alike; from 85 methods on some
    are.
    """
    declared: dict[str, Look | None] = {}
    for run in runs:
        name = run["method"]
        declared[name] = declared.get(name) or _read(run.get("drawn"))
    declared.pop("full", None)
    found = {"full": FULL}
    for name, look in sorted(declared.items()):
        if look is not None and look not in found.values():
            found[name] = look
    for name in sorted(set(declared) - set(found)):
        first = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:4]) % _PAIRS
        pairs = [_pair(first + step) for step in range(_PAIRS)]
        found[name] = next((one for one in pairs if one not in found.values()), pairs[0])
    return found


def _pair(number: int) -> Look:
    return Look(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])


def _read(drawn: object) -> Look | None:
    """What a method declares; None if nobody could draw it."""
    colour, _, marker = str(drawn).partition(" ")
    known = re.fullmatch(r"#[0-9A-Fa-f]{6}", colour) and marker in MARKERS
    return Look(colour.upper(), marker) if known else None
