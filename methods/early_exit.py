"""Early exit with state copying: leave the network once the prediction looks settled.

Schuster et al., "Confident Adaptive Language Modeling" (CALM), NeurIPS 2022: confidences, decaying threshold.
Elbayad et al., "Depth-Adaptive Transformer", ICLR 2020: the exit state copied upwards.
Bae et al., "Fast and Robust Early-Exiting Framework" (FREE), EMNLP 2023: its decay, and states that catch up.
All train the model for it; on any other model this is an untrained ablation.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from methods.shared.confidence import CONFIDENCES, DECAYS, ExitRule
from methods.shared.deferred import Deferred
from methods.shared.errors import MethodError
from methods.shared.exits import Exits, runs_up_to
from methods.shared.method import Method
from methods.shared.profile import Profile, Seen
from methods.shared.ranges import at_least, one_of
from methods.shared.target import Solvable, TargetParams
from models.batch import Batch
from models.stack import Stack
from models.step import Step


@dataclass(frozen=True)
class EarlyExitParams(TargetParams):
    """Parameters of early exit.

    Attributes
    ----------
    threshold : float or None
        lambda, the confidence that an exit needs before decay. None: whatever `target_skip` solves, else no
        exit. Above 1: no exit, whatever the decay.
    confidence : str
        softmax: p1 - p2 of the head on the state, one head evaluation a test;
        saturation: cosine of the outputs of this layer and the one below.
    decay, tau : str, float
        calm, free or none, and how fast; see `methods.shared.confidence.decayed`.
    min_exit_layer, check_every : int or None, int
        First layer that may be left (None: half the depth), and layers between tests.
    kv_policy : str
        What the layers above the exit get: propagate: their own K,V of the exit state; copy: the exit layer's
        K,V; hole: nothing, later tokens see fewer; defer: the exact K,V, in one pass with a later token.
    """

    SOLVED: ClassVar[str] = "threshold"
    target_skip: float | None = 0.2
    threshold: float | None = None
    confidence: str = "softmax"
    decay: str = "calm"
    tau: float = 4.0
    min_exit_layer: int | None = None
    check_every: int = 1
    kv_policy: str = "propagate"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, "confidence", *CONFIDENCES)
        one_of(self, "decay", *DECAYS)
        one_of(self, "kv_policy", "propagate", "copy", "hole", "defer")
        at_least(self, 1, "check_every")
        at_least(self, 0, "min_exit_layer", "tau")
        at_least(self, CONFIDENCES[self.confidence], "threshold")


class EarlyExit(Method):
    """Each row leaves at its own layer; the head reads the state it left with."""

    Params = EarlyExitParams
    params: EarlyExitParams
    trained_in_paper, batch_policy, drawn = True, "gather", "#D55E00 s"

    def __init__(self, params: Any = None):
        super().__init__(params)
        own = self.params
        self.kv_policy, self.max_batch = own.kv_policy, 1 if own.kv_policy == "defer" else None
        self.rule = ExitRule(own.confidence, own.threshold, own.decay, own.tau)
        self.solves = Solvable("threshold", at=self.rule.threshold_at, rises=False)

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth = len(stack.layers)
        first = depth // 2 if self.params.min_exit_layer is None else self.params.min_exit_layer
        if first >= depth - 1:
            raise MethodError(f"min_exit_layer={first} is out of range: it must be below {depth - 1}")
        if self.kv_policy == "copy" and not stack.uniform_kv:
            raise MethodError("kv_policy=copy is unsupported here: layers differ in K,V shape or RoPE")
        self.exits = range(first, depth - 1, self.params.check_every)

    def begin(self, batch: Batch) -> None:
        super().begin(batch)
        self.taken = Exits(batch)
        self.deferred = Deferred(batch) if self.kv_policy == "defer" else None
        if self.kv_policy == "hole":
            self.stack.cache.track_holes(batch.prompt_slots)

    def leaves(self, layer: int, hidden: Tensor, below: Tensor) -> list[bool]:
        """Which rows, of states [rows, width] after this layer and below it, leave here."""
        needed = self.rule.needed(self.batch.step_index, self.max_new_tokens)
        if layer not in self.exits or needed > 1:
            return [False] * len(hidden)
        return (self.rule.confidence(self.stack, hidden, below) >= needed).tolist()

    def signal(self, layer: int, seen: Seen) -> Tensor | None:
        return self.rule.confidence(self.stack, seen.above, seen.below) if layer in self.exits else None

    def predicted_runs(self, profile: Profile) -> Tensor:
        needed = [self.rule.needed(index, profile.max_new_tokens) for index in profile.indices.tolist()]
        return runs_up_to(profile.signals >= torch.tensor(needed)[:, None])

    def forward(self, ids: Tensor, step: Step) -> Tensor:
        hidden = self.stack.embed(ids, step)
        if self.deferred is not None:
            return self.deferred.forward(hidden, step, self.leaves, self.taken)
        active, rows = list(range(len(hidden))), None
        for layer in self.stack.layers:
            below = hidden
            hidden = layer.ffn(layer.attention(hidden, step, rows), below, rows)
            if layer.index not in self.exits:
                continue
            states = (hidden[:, -1], below[:, -1])
            out = self.leaves(layer.index, *(one if rows is None else one[rows] for one in states))
            leaving = [row for row, leaves in zip(active, out, strict=True) if leaves]
            if not leaving:
                continue
            self.fill(layer.index, hidden, step, leaving)
            self.taken.note(leaving, layer.index)
            active = [row for row in active if row not in leaving]
            if not active:
                break
            rows = torch.tensor(active, device=hidden.device)
        self.taken.rest()
        return hidden

    def fill(self, exit_layer: int, hidden: Tensor, step: Step, leaving: list[int]) -> None:
        """Give the layers above an exit the K,V that the policy says; `hole` gives none."""
        rows = None if len(leaving) == len(hidden) else torch.tensor(leaving, device=hidden.device)
        for layer in self.stack.layers[exit_layer + 1 :]:
            if self.kv_policy == "propagate":
                layer.write_kv(hidden, step, rows)
            elif self.kv_policy == "copy":
                source = step if rows is None else step.select(rows)
                self.stack.cache.copy_layer(exit_layer, layer.index, source)

    def columns(self, row: int) -> dict[str, Any]:
        return self.taken.columns(row)
