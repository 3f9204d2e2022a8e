"""Prompt lookup: drafts are what followed the same few tokens earlier in the sequence.

Saxena, "Prompt Lookup Decoding", 2023, github.com/apoorvumang/prompt-lookup-decoding. Lossless, without a
draft model: the baseline that self-speculation has to beat.
"""

from dataclasses import dataclass

from methods.shared.draft import Draft
from methods.shared.drafter import Drafter
from methods.shared.drafting import MOST_DRAFTED, DraftingParams
from methods.shared.ranges import at_least
from models.batch import Batch


@dataclass(frozen=True)
class PromptLookupParams(DraftingParams):
    """Parameters of prompt lookup.

    Attributes
    ----------
    max_ngram : int
        Longest run of newest tokens that is looked for; shorter ones follow where it is not found.
    max_draft : int
        Tokens proposed at most.
    """

    max_ngram: int = 3
    max_draft: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "max_ngram")
        at_least(self, 1, "max_draft", most=MOST_DRAFTED)


class PromptLookup(Drafter):
    """Every n-gram is remembered with what followed it first, so a lookup costs nothing that grows."""

    drawn = "#E69F00 v"
    Params = PromptLookupParams
    params: PromptLookupParams

    def __init__(self, params: PromptLookupParams | None = None):
        super().__init__(params)
        self.scratch = self.params.max_draft

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self._following: dict[tuple[int, ...], int] = {}
        self._known = 0

    def draft(self, batch: Batch, limit: int) -> Draft:
        sequence = batch.prompts[0] + batch.outputs[0]
        sizes = range(1, self.params.max_ngram + 1)
        for place in range(self._known, len(sequence)):
            for size in sizes:
                if size <= place:
                    self._following.setdefault(tuple(sequence[place - size : place]), place)
        self._known = len(sequence)
        for size in reversed(sizes):
            after = self._following.get(tuple(sequence[-size:]))
            if after is not None:
                # The longer the run that was found, the surer; how sure, is learnt where it matters.
                chance = size / (self.params.max_ngram + 1)
                return Draft.chain(sequence[after : after + min(self.params.max_draft, limit)], chance)
        return Draft.chain([])
