"""Passes of one token recorded once and played back: CUDA graphs.

On a GPU a small kernel is over before the host has launched the next one. A graph launches the kernels of a
sub-layer, or of a whole plan, with one call. It reads and writes the same addresses each time, so whatever
changes from step to step (positions, slot, what is visible, the state) is first copied to where the graph
looks for it; and it attends to a whole number of blocks of slots, of which a mask hides those still empty.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from models.cache import BLOCK, KVCache, whole_blocks
from models.plan import Plan
from models.step import Step

if TYPE_CHECKING:
    from models.graphed import GraphedLayer

# Plans with a graph of their own; a method that draws its plan at random has no end of them.
MOST_PLANS = 64

Outputs = tuple[Tensor, ...]
Run = Callable[[Tensor, Step], Outputs]


class Recorder(Protocol):
    """Records what a function runs on the device."""

    def record(self, run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        """Run a function and record it.

        Returns
        -------
        tuple of Tensor, callable
            The function's outputs, and what runs the same kernels on the same addresses again.
        """


class CudaRecorder:
    """Records with CUDA graphs, whose intermediate results share one pool of memory.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._pool: Any = torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        with torch.cuda.device(self._device):
            # Libraries choose kernels and take workspace at their first calls, which a recording forbids.
            before, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            aside.wait_stream(before)
            with torch.cuda.stream(aside):
                for _ in range(2):
                    run()
            before.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                outputs = run()
        return outputs, graph.replay


class Recorded:
    """A function of states [rows, 1, width], recorded.

    Parameters
    ----------
    recorder : Recorder
    state : Tensor [rows, 1, width]
        An example of its input.
    run : callable (state) -> tuple of Tensor
    """

    # A buffer made inside inference mode could not be written after it.
    @torch.inference_mode(False)
    def __init__(self, recorder: Recorder, state: Tensor, run: Callable[[Tensor], Outputs]):
        self._input = torch.zeros(state.shape, dtype=state.dtype, device=state.device)
        with torch.inference_mode():
            self._input.copy_(state)
            self._outputs, self._play = recorder.record(lambda: run(self._input))

    def __call__(self, state: Tensor) -> Outputs:
        """The outputs for a state."""
        self._input.copy_(state)
        self._play()
        # The next call writes to the same place, and a caller may keep what it was given.
        return tuple(output.clone() for output in self._outputs)


class Frame:
    """Where the graphs of so many rows and slots look for their step.

    Parameters
    ----------
    recorder : Recorder
    rows, length : int
    device : torch.device
    prepare : callable (Step)
        Computes what the layers derive from a step.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        recorder: Recorder,
        rows: int,
        length: int,
        device: torch.device,
        prepare: Callable[[Step], None],
    ):
        visible = torch.zeros(rows, 1, length, dtype=torch.bool, device=device)
        # Attention to nothing is NaN, and recording runs what it records.
        visible[:, :, 0] = True
        positions = torch.zeros(rows, 1, dtype=torch.int64, device=device)
        self.step = Step(positions, torch.zeros_like(positions[0]), length, visible)
        self.holds: Step | None = None
        self._visible = visible
        self._recorder = recorder
        self._recorded: dict[Hashable, Recorded] = {}
        with torch.inference_mode():
            self._prepare = recorder.record(partial(self._derived, prepare))[1]

    def _derived(self, prepare: Callable[[Step], None]) -> Outputs:
        # A recorder may run it more than once, and has to see it done each time.
        self.step.derived.clear()
        prepare(self.step)
        return ()

    def place(self, step: Step) -> None:
        """Take a step's positions, slot and view, unless they are here."""
        if self.holds is step:
            return
        self.holds = step
        self.step.positions.copy_(step.positions)
        self.step.slots.copy_(step.slots)
        self._visible[:, :, : step.length] = True if step.visible is None else step.visible
        self._visible[:, :, step.length :] = False
        self._prepare()

    def play(self, key: Hashable, run: Run, state: Tensor) -> Outputs:
        """The outputs of a function of state and step; recorded when it is asked for the first time."""
        if key not in self._recorded:
            self.record(key, run, state)
        return self._recorded[key](state)

    def record(self, key: Hashable, run: Run, state: Tensor) -> None:
        """Record a function of state and step."""
        if key not in self._recorded:
            self._recorded[key] = Recorded(self._recorder, state, lambda given: run(given, self.step))


class Graphs:
    """All recordings of one model.

    Parameters
    ----------
    recorder : Recorder
    width : int
        Of a state.
    dtype : torch.dtype
    device : torch.device
    cache : callable () -> KVCache
    """

    def __init__(
        self,
        recorder: Recorder,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        cache: Callable[[], KVCache],
    ):
        self._recorder, self._cache = recorder, cache
        self._width, self._dtype, self._device = width, dtype, device
        self._frames: dict[tuple[int, int], Frame] = {}
        self._alone: dict[Hashable, Recorded] = {}
        # What has been asked for: recorded for other numbers of rows and slots before the clock runs.
        self._known: dict[Hashable, Run] = {}
        self._seen: set[Plan] = set()
        self.layers: list[GraphedLayer] = []

    def forget(self) -> None:
        """The cache has moved: drop what reads it."""
        self._frames.clear()

    def reserve(self, rows: int, slots: int) -> None:
        """Record, for so many rows and up to so many slots, what has been asked for before."""
        for length in range(BLOCK, whole_blocks(slots) + 1, BLOCK):
            if not self._known:
                return
            frame = self._frame(rows, length)
            for key, run in self._known.items():
                frame.record(key, run, self._blank(rows))

    def played(self, key: Hashable, run: Run, state: Tensor, step: Step) -> Outputs:
        """The outputs of a function of states [rows, 1, width] and their step; recorded where possible."""
        cache = self._cache()
        # Holes change what each layer sees at each step.
        if step.tokens > 1 or step.rows is not None or cache.valid is not None:
            return run(state, step)
        length = min(whole_blocks(step.length), cache.capacity)
        frame = self._frame(len(step.positions), length)
        frame.place(step)
        self._known.setdefault(key, run)
        return frame.play(key, run, state)

    def played_alone(self, key: Hashable, run: Callable[[Tensor], Outputs], state: Tensor) -> Outputs:
        """The same for a function that needs no step."""
        if state.shape[1] > 1 or not len(state):
            return run(state)
        key = (key, len(state))
        if key not in self._alone:
            self._alone[key] = Recorded(self._recorder, state, run)
        return self._alone[key](state)

    def played_plan(self, plan: Plan, state: Tensor, step: Step) -> Tensor | None:
        """The state after all layers of a plan; None: run its sub-layers one by one.

        A plan is recorded when it comes back.
        """

        def run(state: Tensor, step: Step) -> Outputs:
            for layer, attention, ffn in zip(self.layers, plan.attention, plan.ffn, strict=True):
                state = layer.plain_attention(state, step) if attention else state
                state = layer.plain_ffn(state, state) if ffn else state
            return (state,)

        if plan in self._seen:
            return self.played(plan, run, state, step)[0]
        if len(self._seen) == MOST_PLANS:
            return None
        self._seen.add(plan)
        return run(state, step)[0]

    def _frame(self, rows: int, length: int) -> Frame:
        if (rows, length) not in self._frames:
            self._frames[rows, length] = Frame(self._recorder, rows, length, self._device, self._derive)
        return self._frames[rows, length]

    def _derive(self, step: Step) -> None:
        state = self._blank(len(step.positions))
        for layer in self.layers:
            layer.derive(state, step)

    def _blank(self, rows: int) -> Tensor:
        return torch.zeros(rows, 1, self._width, dtype=self._dtype, device=self._device)
