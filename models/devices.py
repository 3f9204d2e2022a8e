"""A model over several devices, for what does not fit on one: some layers, with their K,V, lie elsewhere.

Everything else stays on the first device, the home: embedding, head, states between sub-layers, what methods
decide by. So a method need not know. A state goes to its layer and comes back; it is a few kilobytes beside
the layer's weights.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.cache import KVCache
from models.counters import Counters
from models.layers import Layer, Measure
from models.step import Step


class Part(NamedTuple):
    """Consecutive layers on one device."""

    device: torch.device
    layers: int


class AwayLayer(Layer):
    """A layer on another device than its stack.

    Parameters
    ----------
    index : int
        In the whole model.
    layer : Layer
        It itself, numbered within its part.
    part : int
    device : torch.device
    cache : callable () -> KVCache
    counters : Counters
    """

    def __init__(
        self,
        index: int,
        layer: Layer,
        part: int,
        device: torch.device,
        *,
        cache: Callable[[], KVCache],
        counters: Counters,
    ):
        super().__init__(index, window=None, cache=cache, counters=counters)
        self._there, self._part, self._device = layer, part, device
        self.attention_weights, self.ffn_weights = layer.attention_weights, layer.ffn_weights
        self.kv_weights, self._parallel = layer.kv_weights, layer._parallel

    def matrices(self) -> list[Tensor]:
        return self._there.matrices()

    def _attention_sum(self, state: Tensor, step: Step) -> Tensor:
        step = step.away(self._part, self._device)
        return self._there._attention_sum(state.to(self._device), step).to(state.device)

    def _ffn_sum(self, hidden: Tensor, state: Tensor) -> Tensor:
        return self._there._ffn_sum(*self._both(hidden, state)).to(hidden.device)

    def _ffn_measured(self, hidden: Tensor, state: Tensor, measure: Measure) -> tuple[Tensor, Tensor]:
        after, measured = self._there._ffn_measured(*self._both(hidden, state), measure)
        return after.to(hidden.device), measured.to(hidden.device)

    def _stored(self, state: Tensor, step: Step) -> None:
        self._there._stored(state.to(self._device), step.away(self._part, self._device))

    def _both(self, hidden: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        there = hidden.to(self._device)
        return there, there if state is hidden else state.to(self._device)


class SplitCache:
    """The KV caches of all parts, as one; methods as in `KVCache`, by layers of the whole model."""

    def __init__(self, parts: Sequence[KVCache]):
        self.parts = tuple(parts)
        self._where = [(part, layer) for part, cache in enumerate(parts) for layer in range(len(cache.keys))]

    def begin(self, rows: int) -> None:
        for part in self.parts:
            part.begin(rows)

    def fits(self, rows: int, slots: int) -> bool:
        return self.parts[0].fits(rows, slots)

    def place(self, step: Step) -> None:
        for number, part in enumerate(self.parts):
            part.place(step.away(number, part.device))

    def track_holes(self, filled: int) -> None:
        for part in self.parts:
            part.track_holes(filled)

    def keep(self, slots: Tensor, start: int) -> None:
        for part in self.parts:
            part.keep(slots.to(part.device), start)

    def keep_rows(self, rows: list[int], filled: int) -> None:
        for part in self.parts:
            part.keep_rows(rows, filled)

    def copy_layer(self, source: int, target: int, step: Step) -> None:
        (of, there), (to, here) = self._where[source], self._where[target]
        taken, given = self.parts[of], self.parts[to]
        own = step.away(of, taken.device), step.away(to, given.device)
        given.copy_from(taken, there, here, *own)


def balanced(layers: int, layer_bytes: int, home_bytes: int, devices: Sequence[torch.device]) -> list[Part]:
    """Deal layers of one size out to devices, of which the first also holds the embedding and the head.

    Parameters
    ----------
    layers, layer_bytes : int
    home_bytes : int
        Of everything that is no layer.
    devices : sequence of torch.device
        Of equal size.

    Returns
    -------
    list of Part
        The home first. Devices that no layer is left for are not in it.
    """
    share = (home_bytes + layers * layer_bytes) / len(devices)
    parts, left = [], layers
    for number, device in enumerate(devices):
        room = share - (home_bytes if number == 0 else 0)
        last = number == len(devices) - 1
        # One at least is at home, where transformers looks for how long its cache is.
        least = 1 if number == 0 else 0
        count = left if last else min(left, max(least, round(room / layer_bytes)))
        if count:
            parts.append(Part(device, count))
        left -= count
    return parts


def spread(model: Any, layers: Any, devices: Sequence[torch.device]) -> list[Part]:
    """Move a model to several devices: layers as `balanced` says, the rest to the first. It goes on working.

    Parameters
    ----------
    model : transformers causal LM
    layers : nn.ModuleList
        Its decoder layers.
    devices : sequence of torch.device
    """
    # Only here: the engine on one device does without it.
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    sizes = [sum(p.numel() * p.element_size() for p in layer.parameters()) for layer in layers]
    whole = sum(p.numel() * p.element_size() for p in model.parameters())
    parts = balanced(len(layers), max(sizes), whole - sum(sizes), devices)
    inside = {id(module) for layer in layers for module in layer.modules()}
    for module in model.modules():
        if id(module) not in inside:
            _move_own(module, devices[0])
    remaining = iter(layers)
    for number, part in enumerate(parts):
        for layer in islice(remaining, part.layers):
            for module in layer.modules():
                _move_own(module, part.device)
            if number:
                # For transformers' own forward pass; the sub-layers are called beside it.
                add_hook_to_module(layer, AlignDevicesHook(part.device, io_same_device=True))
    return parts


def copied(module: Any, device: torch.device) -> Any:
    """A copy of a module on another device; None of None."""
    return None if module is None else deepcopy(module).to(device)


def _move_own(module: nn.Module, device: torch.device) -> None:
    """Move a module without its children. In place, so that tied weights stay tied."""
    for parameter in module._parameters.values():
        if parameter is not None:
            parameter.data = parameter.data.to(device)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = buffer.to(device)
