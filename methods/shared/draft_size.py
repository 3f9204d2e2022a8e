"""How much of a draft to verify: what pays by the measured cost of a pass.

A draft is right with some chance, and a pass over more tokens takes longer; which of the two wins depends on
the machine. Chain or tree, long or short: what is verified is the part that gives most tokens a second.
"""

import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from methods.shared.draft import ROOT, Draft
from models.plan import Plan
from models.stack import Stack
from models.step import Step

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
_CONTEXT, _ROUNDS = 128, 3
# Probabilities between which a draft's tokens count as equally sure, and trials that its own word is worth.
_EDGES, _PRIOR = (0.05, 0.2, 0.5, 0.8, 0.95), 8


@dataclass(frozen=True)
class PassCurve:
    """Seconds of a pass of the full model over some tokens.

    Attributes
    ----------
    sizes : sequence of int
        Ascending, from 1.
    seconds : sequence of float
    """

    sizes: Sequence[int]
    seconds: Sequence[float]

    def at(self, tokens: int) -> float:
        """Between two measured sizes by a line, beyond the last one by the last line."""
        above = min(max(bisect_right(self.sizes, tokens), 1), len(self.sizes) - 1)
        (low, high), (first, last) = self.sizes[above - 1 : above + 1], self.seconds[above - 1 : above + 1]
        return first + (last - first) * (tokens - low) / (high - low)


def measured_curve(
    stack: Stack,
    sizes: Sequence[int] = SIZES,
    context: int = _CONTEXT,
    rounds: int = _ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> PassCurve:
    """The curve of a model on this machine, of medians; takes a second or two. Parameters as below."""
    found = pass_seconds(stack, sizes, context, rounds, clock)
    return PassCurve(sizes, [statistics.median(column) for column in zip(*found, strict=True)])


@torch.inference_mode()
def pass_seconds(
    stack: Stack,
    sizes: Sequence[int],
    context: int,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Seconds of a pass (every sub-layer, the head on all tokens) of each size behind so many slots, taken in
    turn, round by round."""
    stack.reserve(1, context + max(sizes))
    plan, pads = Plan.full(len(stack.layers)), torch.zeros(1, dtype=torch.int64, device=stack.device)

    def seconds(tokens: int) -> float:
        ids = torch.zeros(1, tokens, dtype=torch.int64, device=stack.device)
        began = clock()
        logits = stack.head(stack.run(plan, ids, Step.causal(context, tokens, pads, None)))
        # On the host, as after a verification: then it is over on the device too.
        logits.argmax(-1).tolist()
        return clock() - began

    with stack.counters.purpose("searched"):
        # The first round warms up.
        return [[seconds(tokens) for tokens in sizes] for _ in range(rounds + 1)][1:]


class DraftSize:
    """Cuts drafts to what pays, and learns how often they are right.

    Parameters
    ----------
    curve : PassCurve
    """

    def __init__(self, curve: PassCurve):
        self.curve = curve
        self._right = [0] * (len(_EDGES) + 1)
        self._tried = [0] * (len(_EDGES) + 1)
        self._seconds, self._depth = 0.0, 0

    def chance(self, probability: float) -> float:
        """Chance that a token is the full model's, given that its parent is, by the draft's probability."""
        place = _place(probability)
        return (self._right[place] + _PRIOR * probability) / (self._tried[place] + _PRIOR)

    def deeper(self, path: float) -> bool:
        """Whether another pass of the draft pays, below a token that is right with chance `path`.

        It can yield that much of a token; a plain pass yields a whole one.
        """
        return not self._depth or path * self.curve.at(1) > self._seconds / self._depth

    def cut(self, draft: Draft, spent: float) -> Draft:
        """The part of a draft whose verification yields most tokens a second.

        Parameters
        ----------
        draft : Draft
        spent : float
            Seconds that making it has taken.
        """
        self._seconds, self._depth = self._seconds + spent, self._depth + draft.depth
        paths: list[float] = []
        for parent, probability in zip(draft.parents, draft.chances, strict=True):
            paths.append(self.chance(probability) * (1.0 if parent == ROOT else paths[parent]))
        # No token is surer than its parent, so the surest ones are a tree by themselves.
        order = sorted(range(len(paths)), key=lambda node: -paths[node])
        yields = accumulate((paths[node] for node in order), initial=1.0)
        rates = [tokens / (spent + self.curve.at(1 + count)) for count, tokens in enumerate(yields)]
        return draft.part(order[: rates.index(max(rates))])

    def learn(self, draft: Draft, tokens: Sequence[int]) -> None:
        """Note which tokens of a draft were right, also of what was cut off, by those of the full model."""
        parent: int | None = ROOT
        for token in tokens:
            for node, above in enumerate(draft.parents):
                if above == parent:
                    place = _place(draft.chances[node])
                    self._tried[place] += 1
                    self._right[place] += draft.tokens[node] == token
            parent = None if parent is None else draft.child(parent, token)


def _place(probability: float) -> int:
    """Which of the equally sure ones a token belongs to."""
    return bisect_right(_EDGES, probability)
