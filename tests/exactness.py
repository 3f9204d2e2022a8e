"""What "token for token" means where two correct programs round differently."""

import math
from collections.abc import Sequence

LOGIT_GAP = 1e-4
DECISION_GAP = 1e-5

Case = tuple[str, Sequence[int], Sequence[int], Sequence[bool]]


def near_ties(gaps: Sequence[float]) -> list[bool]:
    """Tokens whose two best logits are too close to tell apart in float32."""
    return [gap < LOGIT_GAP for gap in gaps]


def near_ties_bfloat16(gaps: Sequence[float], tops: Sequence[float]) -> list[bool]:
    """Tokens whose two best logits are at most four bfloat16 steps apart."""
    steps = [2.0 ** (math.floor(math.log2(abs(top))) - 7) for top in tops]
    return [gap <= 4 * step for gap, step in zip(gaps, steps, strict=True)]


def first_difference(got: Sequence[int], wanted: Sequence[int]) -> int | None:
    """Place of the first token that differs; None when all agree."""
    if list(got) == list(wanted):
        return None
    same = (one == other for one, other in zip(got, wanted, strict=False))
    return next((place for place, equal in enumerate(same) if not equal), min(len(got), len(wanted)))


def assert_equal_up_to_near_ties(cases: Sequence[Case], share: float | None = 1 / 50) -> None:
    """Outputs agree, or part only at or after a near tie; such outputs are at most 1 in 50.

    Parameters
    ----------
    cases : sequence of (label, output, reference output, near tie by reference token)
    share : float or None
        None: any number of outputs may part at a near tie.
    """
    parted = []
    for label, got, wanted, near in cases:
        place = first_difference(got, wanted)
        if place is None:
            continue
        assert any(near[: place + 1]), (
            f"{label}: token {place} differs without a near tie\n got {got}\nwant {wanted}"
        )
        parted.append(f"{label} at token {place}")
    assert share is None or len(parted) <= math.ceil(share * len(cases)), f"too many near ties: {parted}"
