"""Drafting and verifying: several tokens out of one pass of the full model, without changing what it says.

Leviathan et al. 2023 (arXiv 2211.17192) verify a chain; Miao et al., "SpecInfer", 2024 (arXiv 2305.09781) a
tree.
"""

import time
from typing import Any, ClassVar

import torch

from methods.shared.draft import ROOT, Draft
from methods.shared.draft_size import DraftSize, measured_curve
from methods.shared.drafting import DraftingParams
from methods.shared.method import Method
from methods.shared.payoff import Payoff
from models.batch import Batch
from models.sampling import best_tokens
from models.stack import Stack

_SKIPS = (
    "attention_run",
    "ffn_run",
    "attention_total",
    "ffn_total",
    "attention_run_by_layer",
    "ffn_run_by_layer",
    "skipped_steps",
)


class Drafter(Method):
    """A lossless method: it proposes tokens, and the full model verifies all of them in one pass.

    At every node the full model's own token is drawn, by the sampler and the random numbers that plain
    decoding would use there. If the draft proposed it, its node was computed already, and the walk goes on
    below. So the output is that of plain decoding, token for token, greedy or sampled, whatever was proposed,
    up to rounding: a pass over several tokens may decide a near tie otherwise than passes over one. For
    proposals that are not drawn at random no exact rule accepts more. K,V of the accepted path are moved
    together; nothing is cloned or computed again.
    """

    lossless = True
    max_batch = 1
    Params: ClassVar[type] = DraftingParams
    params: DraftingParams

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        self.payoff = Payoff() if self.params.stop_when_losing else None
        self.size = DraftSize(measured_curve(stack)) if self.params.size == "cost" else None

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self.lengths: list[int] = []
        self.drafted = self.paused = 0
        self.sizes: list[int] = []
        self.draft_s = self.search_s = 0.0

    def draft(self, batch: Batch, limit: int) -> Draft:
        """Tokens to verify, at most `limit` deep; there may be none. Ends on the host, so that a clock knows
        what it took; what of it was search for a better draft, it adds to `search_s`."""
        raise NotImplementedError

    def decode(self, batch: Batch) -> list[list[int]]:
        if self.payoff is None:
            return [self._verified(batch, drafting=True)]
        drafting, began = self.payoff.tries, self.payoff.clock()
        tokens = self._verified(batch, drafting)
        self.payoff.took(len(tokens), self.payoff.clock() - began)
        self.paused += not drafting
        return [tokens]

    def _verified(self, batch: Batch, drafting: bool) -> list[int]:
        """The tokens of one pass."""
        # Each pass yields a token of its own after the last accepted one.
        limit = batch.max_new_tokens - len(batch.outputs[batch.live[0]]) - 1
        began, searched = time.perf_counter(), self.search_s
        draft = self.draft(batch, limit) if drafting and limit > 0 else Draft.chain([])
        spent = time.perf_counter() - began - (self.search_s - searched)
        self.draft_s += spent
        whole = draft
        if self.size is not None:
            draft = self.size.cut(whole, spent)
        self.drafted += draft.depth
        self.sizes.append(1 + len(draft.tokens))
        newest, _ = batch.decode_step()
        proposed = torch.tensor([list(draft.tokens)], dtype=newest.dtype, device=newest.device)
        step = batch.step(1 + len(draft.tokens)) if draft.is_chain else batch.tree_step(draft.parents)
        with self.stack.counters.purpose("verified"):
            hidden = self.stack.run(self.full, torch.cat((newest, proposed), dim=1), step)
            logits = self.stack.head(hidden[0])
        tokens, path = self._walk(batch, draft, logits)
        if self.size is not None:
            self.size.learn(whole, tokens)
        if path != list(range(len(path))):
            slots = torch.tensor(path, device=newest.device) + batch.slot + 1
            self.stack.cache.keep(slots, batch.slot + 1)
        return tokens

    def _walk(self, batch: Batch, draft: Draft, logits: torch.Tensor) -> tuple[list[int], list[int]]:
        """The full model's tokens along the tree, and the nodes that had them."""
        tokens: list[int] = []
        path: list[int] = []
        node = ROOT
        # Of all nodes at once where nothing is drawn: one trip to the host.
        best = best_tokens(logits) if batch.sampler.greedy else None
        while True:
            token = best[node + 1] if best else batch.sample(logits[node + 1 : node + 2])[0][0]
            tokens.append(token)
            found = None if token in batch.eos else draft.child(node, token)
            if found is None:
                return tokens, path
            path.append(found)
            node = found

    def took(self, taken: list[int]) -> None:
        self.lengths += taken

    def columns(self, row: int) -> dict[str, Any]:
        steps = len(self.lengths)
        return {
            # The final work of lossless methods is verification; there is no skip to speak of.
            **dict.fromkeys(_SKIPS),
            "accepted_lengths": self.lengths,
            "drafted": self.drafted,
            # Each pass has a token of its own, but for one whose last token was drafted and ends the answer.
            "accepted": sum(self.lengths) - steps,
            "verify_steps": steps,
            "verified_tokens": self.sizes,
            "draft_s": self.draft_s,
            "paused_steps": None if self.payoff is None else self.paused,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        # Times of another process, or of the warm-up, say nothing here; what a pass costs stays.
        if self.payoff is not None:
            self.payoff = Payoff(self.payoff.clock)
        if self.size is not None:
            self.size = DraftSize(self.size.curve)
