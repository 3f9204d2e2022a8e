"""The fused layer with the passes of one token recorded, for a GPU."""

from typing import Any

from torch import Tensor

from models.fused import FusedLayer
from models.graphs import Graphs, Outputs
from models.layers import Measure
from models.step import Step


class GraphedLayer(FusedLayer):
    """A fused layer whose passes of one token are played back; parameters as there, and the recordings."""

    def __init__(self, *args: Any, graphs: Graphs, **more: Any):
        super().__init__(*args, **more)
        self._graphs = graphs
        graphs.layers.append(self)

    # The fused layer's own, which is what is recorded.
    plain_attention = FusedLayer._attention_sum
    plain_kv = FusedLayer._stored
    plain_ffn = FusedLayer._ffn_sum
    plain_measured = FusedLayer._ffn_measured

    def derive(self, state: Tensor, step: Step) -> None:
        """Compute what this layer takes from `step.derived`, so that its recordings find it there."""
        self._tables(state, step)
        visible = self._visible(step)
        if visible is not None:
            self._additive_mask(visible, self._heads // self._kv_heads, step, state.dtype)

    def _attention_sum(self, state: Tensor, step: Step) -> Tensor:
        def run(state: Tensor, step: Step) -> Outputs:
            return (self.plain_attention(state, step),)

        return self._graphs.played(("attention", self.index), run, state, step)[0]

    def _stored(self, state: Tensor, step: Step) -> None:
        def run(state: Tensor, step: Step) -> Outputs:
            self.plain_kv(state, step)
            return ()

        self._graphs.played(("write_kv", self.index), run, state, step)

    def _ffn_sum(self, hidden: Tensor, state: Tensor) -> Tensor:
        def run(state: Tensor) -> Outputs:
            return (self.plain_ffn(state, state),)

        return self._graphs.played_alone(("ffn", self.index), run, state)[0]

    def _ffn_measured(self, hidden: Tensor, state: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
        def run(state: Tensor) -> Outputs:
            return self.plain_measured(state, state, measure)

        after, measured = self._graphs.played_alone(("measured", self.index, measure), run, state)
        return after, measured
