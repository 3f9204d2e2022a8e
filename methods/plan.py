"""A fixed set of sub-layers, chosen by hand: whole layers, attention blocks or FFNs by their numbers."""

from dataclasses import dataclass, field
from typing import Any

from methods.shared.errors import MethodError
from methods.shared.layer_list import layer_list
from methods.shared.method import Method
from models.plan import Plan
from models.stack import Stack

_LISTS = ("skip_layers", "skip_attention", "skip_ffn")


@dataclass(frozen=True)
class FixedPlanParams:
    """What is left out at every decode step.

    Attributes
    ----------
    skip_layers, skip_attention, skip_ffn : list of int
        Numbers from 0, of layers that go without both sub-layers, without attention, or without the FFN;
        `7-9` and `[3, 7-9]` are read too.
    """

    skip_layers: Any = field(default_factory=list)
    skip_attention: Any = field(default_factory=list)
    skip_ffn: Any = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in _LISTS:
            # One spelling, so that one set is one run.
            object.__setattr__(self, name, layer_list(name, getattr(self, name)))


class FixedPlan(Method):
    """The set never changes, so K,V of attention that is left out are never read, and not computed."""

    Params = FixedPlanParams
    params: FixedPlanParams
    kv_policy = "nested"
    drawn = "#F0E442 o"

    def bind(self, stack: Stack) -> None:
        super().bind(stack)
        depth = len(stack.layers)
        for name in _LISTS:
            if (beyond := max(getattr(self.params, name), default=0)) >= depth:
                raise MethodError(
                    f"{name} names layer {beyond}, and the model has {depth} (0 to {depth - 1})"
                )
        layers = set(self.params.skip_layers)
        attention, ffn = layers | set(self.params.skip_attention), layers | set(self.params.skip_ffn)
        self._plan = Plan(
            tuple(layer not in attention for layer in range(depth)),
            tuple(layer not in ffn for layer in range(depth)),
        )

    def plan(self, index: int) -> Plan:
        return self._plan
