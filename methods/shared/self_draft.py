"""Drafting with a part of the model itself: the draft of SWIFT, Draft&Verify and their successors."""

from collections.abc import Sequence

from methods.shared.draft import ROOT, Draft
from methods.shared.draft_size import DraftSize
from models.batch import Batch
from models.plan import Plan

# Probabilities of the draft's choice at which more tokens are proposed beside it.
_STEPS = (0.95, 0.8, 0.5)
GREEDY_WIDTHS, SAMPLED_WIDTHS = (3, 5, 8, 10), (1, 3, 5, 10)


def width(probability: float, widths: Sequence[int]) -> int:
    """Tokens proposed side by side, by the probability of the draft's choice: > .95, > .8, > .5, else."""
    return widths[sum(probability <= step for step in _STEPS)]


def self_draft(
    batch: Batch,
    plan: Plan,
    limit: int,
    *,
    threshold: float,
    widths: Sequence[int],
    max_nodes: int | None = None,
    size: DraftSize | None = None,
) -> Draft:
    """Draft greedily with some sub-layers, in the slots that the verification is going to write anew.

    Parameters
    ----------
    limit : int
        Depth of the draft at most.
    threshold : float
        The first token whose probability is lower is the last.
    widths : sequence of 4 ints
        Tokens proposed at each depth, see `width`. Only the most probable one is continued.
    max_nodes : int or None
        Tokens of the whole tree at most.
    size : DraftSize or None
        Says when going deeper does not pay.
    """
    stack = batch.stack
    tokens: list[int] = []
    parents: list[int] = []
    chances: list[float] = []
    path, above, ids = 1.0, ROOT, batch.decode_step()[0]
    with stack.counters.purpose("drafted"):
        for ahead in range(limit):
            state = stack.run(plan, ids, batch.ahead_step(ahead))
            best = stack.head(state[:, -1]).float().softmax(-1)[0].topk(max(widths))
            probability = float(best.values[0])
            proposed = best.indices[: width(probability, widths)].tolist()
            if max_nodes is not None:
                proposed = proposed[: max_nodes - len(tokens)]
            parents += [above] * len(proposed)
            chances += best.values[: len(proposed)].tolist()
            above, ids = len(tokens), best.indices[None, :1]
            tokens += proposed
            if probability < threshold or len(tokens) == max_nodes:
                break
            if size is not None:
                path *= size.chance(probability)
                if not size.deeper(path):
                    break
    return Draft(tokens, parents, chances)
