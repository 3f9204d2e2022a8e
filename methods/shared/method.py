"""The interface of a decoding method."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor

from methods.shared.errors import MethodError
from methods.shared.target import Solvable, TargetParams
from models.batch import Batch
from models.plan import Plan
from models.stack import Stack
from models.step import Step

if TYPE_CHECKING:
    from methods.shared.profile import Profile, Seen


class Watch(Protocol):
    """Notes when tokens arrive; the runner's clock."""

    def prefilled(self) -> None:
        """The pass over the prompt is done and token 0, if it yields it, is on the host."""

    def decoded(self, taken: list[int], live: list[int]) -> None:
        """One decode call has yielded `taken` tokens for each of the rows `live` (original numbers)."""


@dataclass(frozen=True)
class NoParams:
    """Parameters of a method that has none."""


class Method:
    """A way to decode. Subclasses declare what they are and say which sub-layers a step runs.

    A method whose set of sub-layers is known before the step overrides `plan`; a data-dependent one overrides
    `forward`; one that drafts overrides `decode`. The runner calls, counts and times.

    Attributes
    ----------
    Params : type
        Frozen dataclass of the method's parameters, ranges checked at construction.
    lossless : bool
        Keeps greedy output and the sampling distribution.
    trained_in_paper : bool
        The paper trains the model for this method; on any other model a run is an untrained ablation.
    kv_policy : str
        What a skipped layer's K,V are: "full" (always computed), "propagate", "copy", "hole", "defer",
        "nested".
    batch_policy : str or None
        How rows that disagree share a batch.
    max_batch : int or None
        Largest batch it can decode; None: any.
    needs_calibration : bool
        `calibrate` has to run before decoding.
    solves : Solvable or None
    own_engine : bool
        Decodes outside our sub-layers, whose counters therefore say nothing about it.
    scratch : int
        Slots past the end of the sequences that it writes drafts and searches to.
    drawn : str or None
        Colour and marker in figures, "#0072B2 o", with one of matplotlib's letters (o s ^ D v P X < > p h d);
        None: derived from its name.
    """

    Params: ClassVar[type] = NoParams
    lossless: ClassVar[bool] = False
    trained_in_paper: ClassVar[bool] = False
    needs_calibration: ClassVar[bool] = False
    own_engine: ClassVar[bool] = False
    drawn: ClassVar[str | None] = None
    kv_policy: str = "full"
    batch_policy: str | None = None
    max_batch: int | None = None
    solves: Solvable | None = None
    scratch: int = 0

    stack: Stack
    batch: Batch
    max_new_tokens: int

    def __init__(self, params: Any = None):
        self.params = self.Params() if params is None else params

    def bind(self, stack: Stack) -> None:
        """Take the model. Shares of depth become layers here."""
        self.stack = stack
        self.full = Plan.full(len(stack.layers))

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Learn what must be known before decoding, from prompts that are never scored.

        The batches share one KV cache: finish each before asking for the next.
        """

    @property
    def calibration(self) -> dict[str, Any]:
        """What `calibrate` learnt, as JSON; `restore` takes it back without a calibration run."""
        return {}

    def restore(self, calibration: dict[str, Any]) -> None:
        """Take what an earlier `calibrate` learnt."""

    @property
    def nominal_skip(self) -> float | None:
        """The skip that the configuration asks for; None when it asks for none in particular."""
        return None

    def begin(self, batch: Batch) -> None:
        """Start new sequences.

        Raises
        ------
        MethodError
            What decides over the sub-layers is not known: it would be the full model in disguise.
        """
        self._check_ready()
        self.batch = batch
        self.schedule(batch.max_new_tokens)

    def _check_ready(self) -> None:
        params = self.params
        if isinstance(params, TargetParams) and params.to_solve:
            raise MethodError(
                f"{params.SOLVED} is neither given nor solved for target_skip={params.target_skip:g}; give "
                f"{params.SOLVED}, or let the runner solve it (python run.py)"
            )
        skips = self.needs_calibration and self.nominal_skip != 0
        if skips and not any(self.calibration.values()):
            raise MethodError(
                f"{type(self).__name__} is not calibrated; call calibrate, or let the runner do it (run.py)"
            )

    def schedule(self, max_new_tokens: int) -> None:
        """Prepare for answers of at most so many tokens: warm-ups and schedules begin anew."""
        self.max_new_tokens = max_new_tokens

    def prefill(self, batch: Batch) -> list[list[int]]:
        """The pass over the prompts, in full; token 0 of every row, nothing if the batch holds it back."""
        if not batch.prompt_slots:
            return []
        with self.stack.counters.purpose("prefill"):
            last = batch.read(partial(self.stack.run, self.full))
            return [] if batch.holds_back else batch.sample(self.stack.head(last))

    def plan(self, index: int) -> Plan:
        """Sub-layers of decode step `index`."""
        return self.full

    def forward(self, ids: Tensor, step: Step) -> Tensor:
        """One decode step: the state [rows, 1, width] that goes into the head."""
        return self.stack.run(self.plan(self.batch.step_index), ids, step)

    def decode(self, batch: Batch) -> list[list[int]]:
        """One decode call: one or more accepted tokens for every live row."""
        hidden = self.forward(*batch.decode_step())
        return batch.sample(self.stack.head(hidden[:, -1]))

    def generate(self, batch: Batch, watch: Watch) -> None:
        """Decode a batch to its end, telling the watch when tokens have arrived."""
        self.begin(batch)
        first = self.prefill(batch)
        watch.prefilled()
        if first:
            batch.accept(first, fed=0)
        while batch.live:
            live = batch.live
            tokens = self.decode(batch)
            self.stack.counters.step_done()
            taken = batch.accept(tokens, fed=len(tokens[0]))
            batch.step_index += 1
            self.took(taken)
            watch.decoded(taken, live)

    def signal(self, layer: int, seen: "Seen") -> Tensor | None:
        """What the method decides by after a layer, [rows]; None where it does not look at states.

        With `predicted_runs` it lets `target_skip` be solved in few decoding runs.
        """
        return None

    @property
    def foretells(self) -> bool:
        """Whether `predicted_runs` tells anything."""
        own = type(self)
        return own.forward is Method.forward or own.predicted_runs is not Method.predicted_runs

    def predicted_runs(self, profile: "Profile") -> Tensor:
        """Token runs [2, layers] that the method would have had in the decode steps of the full model, by
        ATTENTION and FFN.

        A method that plans its steps need not say: its plans tell.
        """
        self.schedule(profile.max_new_tokens)
        runs = torch.zeros(2, len(self.stack.layers))
        for index in range(max(profile.lengths)):
            plan, steps = self.plan(index), sum(length > index for length in profile.lengths)
            runs += steps * torch.tensor([plan.attention, plan.ffn])
        return runs

    def took(self, taken: list[int]) -> None:
        """Told how many of the tokens that `decode` gave were taken, by live row before the call."""

    def columns(self, row: int) -> dict[str, Any]:
        """What the method noted of a row (original number) of the batch just decoded, by column of the
        results."""
        return {}

    def state(self) -> dict[str, Any]:
        """What must survive a restart for decoding to go on as if there had been none, as JSON."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""
