"""A causal LM opened into sub-layers."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from models.cache import KVCache, whole_blocks
from models.counters import Counters
from models.devices import AwayLayer, Part, SplitCache, copied
from models.errors import ModelError
from models.families import Family, family_of, kind_of, window_of
from models.fused import FusedLayer, unfusable
from models.graphed import GraphedLayer
from models.graphs import Graphs, Recorder
from models.hf import HFLayer
from models.kernels import kernels
from models.layers import Layer
from models.native import NativeLayer
from models.plan import Plan
from models.product import Products, products_for
from models.rotary import switch_length, tables_by_row
from models.step import Step


class Stack:
    """Embedding, sub-layers and head of one model, its KV cache, and the count of what was run.

    Parameters
    ----------
    model : transformers causal LM
    layer : str
        Implementation of the sub-layers: native, fused, hf, or auto for the first that the model and the
        machine allow.
    product : str
        How weights are multiplied; see `models.product`.
    keep_layout : bool
        Leave weights as transformers has them, for whoever times transformers itself.
    recorder : Recorder or None
        Records the decode steps of fused layers and plays them back; for a GPU.
    parts : sequence of Part
        How the model's layers lie on several devices, the model's own first; empty: all on that.

    Attributes
    ----------
    model : nn.Module
        The transformers causal LM; unless `layer_name` is hf, some parameters are views of merged ones.
    layers : list of Layer
    layer_name : str
        Their implementation: native, fused, graphed or hf.
    products : Products
    cache : KVCache or SplitCache
        In use by the current batch; see `reserve`.
    counters : Counters
    uniform_kv : bool
        One layer's K,V mean the same in another: same shape and same rotary embedding.
    """

    def __init__(
        self,
        model: Any,
        layer: str = "auto",
        *,
        product: str = "auto",
        keep_layout: bool = False,
        recorder: Recorder | None = None,
        parts: Sequence[Part] = (),
    ):
        config = model.config.get_text_config()
        family = family_of(config)
        self.model = model
        self.config = config
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self._embed: Any = model.get_input_embeddings()
        self._head: nn.Linear = model.get_output_embeddings()

        def module_at(path: str | None) -> Any:
            return None if path is None else attrgetter(path)(model)

        self._norm, self._rotary = module_at(family.norm), module_at(family.rotary)
        self._positions = module_at(family.positions)
        self._project_in, self._project_out = module_at(family.project_in), module_at(family.project_out)
        self._soft_cap: float | None = getattr(config, "final_logit_softcapping", None)
        modules = module_at(family.layers)
        self.counters = Counters(len(modules), self.device)
        self.rotary_switch = switch_length(config)
        windows = [window_of(config, index) for index in range(len(modules))]
        kinds = [kind_of(config, index) if family.rotary_by_kind else None for index in range(len(modules))]
        self.uniform_kv = len(set(kinds)) == 1
        self._windowed = any(window is not None for window in windows)
        elsewhere = recorder is not None or len(parts) > 1
        if self.device.type == "cpu":
            # Compiled before any clock runs: `numerics.cosine` takes them too.
            kernels()
        self.products = (
            Products()
            if elsewhere
            else products_for(product, self.device, self.dtype, keep_layout=keep_layout)
        )
        name = _implementation(layer, family, config, modules, self.products)
        more: dict[str, Any] = {}
        self._graphs: Graphs | None = None
        if recorder is not None:
            _recordable(name, parts, config)
            name = "graphed"
            self._graphs = more["graphs"] = Graphs(
                recorder, config.hidden_size, self.dtype, self.device, cache=lambda: self.cache.parts[0]
            )
        self.layer_name = name
        self._parts = tuple(parts) or (Part(self.device, len(modules)),)

        self.layers: list[Layer] = []
        implementation: Any = _LAYERS[name]
        for number, part in enumerate(self._parts):
            first = len(self.layers)
            rotary = self._rotary if number == 0 else copied(self._rotary, part.device)
            place: dict[str, Any] = {"cache": partial(self._part_cache, number), "counters": self.counters}
            for index in range(first, first + part.layers):
                own: Layer = implementation(
                    index - first,
                    modules[index],
                    family,
                    config=config,
                    window=windows[index],
                    rotary=partial(self._rotary_tables, rotary, kinds[index]) if rotary else None,
                    products=self.products,
                    **place,
                    **more,
                )
                if number:
                    own = AwayLayer(index, own, number, part.device, **place)
                self.layers.append(own)
        self._logits = self.products.of(self._head)
        self.products.settle([*chain(*(one.matrices() for one in self.layers)), self._head.weight])
        self._heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        self._width: int = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.cache = self._new_cache(1, 1)

    # Made inside inference mode, a cache could not be written after it.
    @torch.inference_mode(False)
    def _new_cache(self, rows: int, slots: int) -> KVCache | SplitCache:
        caches = [
            KVCache(part.layers, rows, self._heads, slots, self._width, self.dtype, part.device)
            for part in self._parts
        ]
        return caches[0] if len(caches) == 1 else SplitCache(caches)

    def _part_cache(self, part: int) -> KVCache:
        return self.cache.parts[part]

    @property
    def devices(self) -> list[torch.device]:
        """Where its layers are, the home first."""
        return [part.device for part in self._parts]

    def reserve(self, rows: int, slots: int) -> None:
        """Begin new sequences: `rows` of them, with at most `slots` slots each."""
        if not self.cache.fits(rows, slots):
            # Rounded up, so that batches of slightly different length share one allocation.
            self.cache = self._new_cache(rows, whole_blocks(slots))
            if self._graphs is not None:
                self._graphs.forget()
        if self._graphs is not None:
            # Rows end one after the other.
            for count in range(1, rows + 1):
                self.cache.begin(count)
                self._graphs.reserve(count, slots)
        self.cache.begin(rows)
        self.counters.begin(rows)

    def keep_rows(self, rows: list[int], filled: int) -> None:
        """Go on with some rows (ascending); the first `filled` slots hold something."""
        self.cache.keep_rows(rows, filled)
        self.counters.keep_rows(rows)

    def embed(self, ids: Tensor, step: Step) -> Tensor:
        """Token states that enter the first layer.

        Parameters
        ----------
        ids : Tensor [rows, T], int64
        step : Step

        Returns
        -------
        Tensor [rows, T, width]
        """
        if self._windowed:
            self.cache.place(step)
        hidden = self._embed(ids)
        if self._project_in is not None:
            hidden = self._project_in(hidden)
        if self._positions is not None:
            # OPT's table begins with two rows that no position uses.
            places = step.positions + getattr(self._positions, "offset", 0)
            hidden = hidden + nn.functional.embedding(places, self._positions.weight)
        return hidden

    @property
    def vocabulary(self) -> int:
        """Tokens that it can be given."""
        return len(self._embed.weight)

    @property
    def head_weight(self) -> Tensor:
        """The LM head's matrix [vocabulary, width]."""
        return self._head.weight

    def head(self, hidden: Tensor, columns: Tensor | None = None) -> Tensor:
        """Final norm and LM head.

        Parameters
        ----------
        hidden : Tensor [..., width]
        columns : Tensor [n], int64, or None
            Vocabulary entries to score; None: all.

        Returns
        -------
        Tensor [..., vocabulary or n]
            Logits in the model's dtype.
        """
        state = hidden if self._norm is None else self._norm(hidden)
        if self._project_out is not None:
            state = self._project_out(state)
        if columns is None:
            self.counters.head(1.0)
            logits = self._logits(state).view(*state.shape[:-1], -1)
        else:
            self.counters.head(len(columns) / self._head.weight.shape[0])
            bias = None if self._head.bias is None else self._head.bias[columns]
            logits = nn.functional.linear(state, self._head.weight[columns], bias)
        if self._soft_cap is not None:
            logits = torch.tanh(logits / self._soft_cap) * self._soft_cap
        return logits

    def run(self, plan: Plan, ids: Tensor, step: Step) -> Tensor:
        """One pass of a set of sub-layers known beforehand.

        Returns
        -------
        Tensor [rows, T, width]
            The state after the last layer, before the final norm; `head` takes it.
        """
        hidden = self.embed(ids, step)
        if self._graphs is not None and (whole := self._graphs.played_plan(plan, hidden, step)) is not None:
            self._note(plan, len(hidden), step)
            return whole
        for layer, attention, ffn in zip(self.layers, plan.attention, plan.ffn, strict=True):
            layer_input = hidden
            if attention:
                hidden = layer.attention(hidden, step)
            if ffn:
                hidden = layer.ffn(hidden, layer_input)
        return hidden

    def _note(self, plan: Plan, rows: int, step: Step) -> None:
        """Count what a recording of a plan runs."""
        for layer, attention, ffn in zip(self.layers, plan.attention, plan.ffn, strict=True):
            if attention:
                layer.note_attention(rows, step)
            if ffn:
                layer.note_ffn(step.tokens)

    def _rotary_tables(
        self, rotary: Any, kind: str | None, hidden: Tensor, step: Step
    ) -> tuple[Tensor, Tensor]:
        key = ("rotary", kind)
        if key not in step.derived:
            more = {} if kind is None else {"layer_type": kind}
            step.derived[key] = (
                rotary(hidden, position_ids=step.positions, **more)
                if self.rotary_switch is None
                else tables_by_row(rotary, hidden, step, self.rotary_switch, **more)
            )
        return step.derived[key]

    def bytes_read(self, purpose: str) -> float:
        """Bytes that the work of one purpose has to move: weights once a pass, K,V read and written.

        Norms and activations are left out: they are small beside the weights.
        """
        tally = self.counters.tally(purpose)
        weights = sum(
            attention * layer.attention_weights + ffn * layer.ffn_weights + kv * layer.kv_weights
            for layer, attention, ffn, kv in zip(self.layers, *tally.passes, tally.kv_passes, strict=True)
        )
        weights += tally.head * self._head.weight.numel()
        slots = tally.kv_read + tally.kv_written
        return float(weights * self.dtype.itemsize + slots * self._slot_bytes)

    def full_bytes(self, prompt_slots: int, steps: list[int]) -> float:
        """Bytes of the same tokens decoded by one full pass a step.

        Parameters
        ----------
        prompt_slots : int
            Slots that the (padded) prompt fills before the first decode step.
        steps : list of int
            Decode steps of each row of the batch.
        """
        layers = sum(layer.attention_weights + layer.ffn_weights for layer in self.layers)
        weights = max(steps, default=0) * (layers + self._head.weight.numel())
        slots = sum(n * (prompt_slots + 1) + n * (n - 1) // 2 + n for n in steps) * len(self.layers)
        return float(weights * self.dtype.itemsize + slots * self._slot_bytes)

    @property
    def _slot_bytes(self) -> int:
        return 2 * self._heads * self._width * self.dtype.itemsize


_LAYERS = {"native": NativeLayer, "fused": FusedLayer, "graphed": GraphedLayer, "hf": HFLayer}


def _implementation(name: str, family: Family, config: Any, modules: Any, products: Products) -> str:
    """Which layer a name means for a model: native, fused or hf."""
    unfused = None if name == "hf" else unfusable(family, config, modules)
    if name in ("native", "fused") and unfused is not None:
        raise ModelError(f"engine.layer={name} does not fit this model: {unfused}; use engine.layer=auto")
    if name == "native" and products.library is None:
        why = products.obstacle or "it is for float32 and bfloat16 on one CPU, with engine.product=kernel"
        raise ModelError(f"engine.layer=native is not to be had: {why}; use engine.layer=auto")
    if name == "hf" or unfused is not None:
        return "hf"
    return "fused" if name == "fused" or products.library is None else "native"


def _recordable(name: str, parts: Sequence[Part], config: Any) -> None:
    if len(parts) > 1:
        raise ModelError(
            "engine.compile=true records one device, and these layers lie on several; "
            "leave engine.compile=false or engine.device_map=null"
        )
    if name != "fused":
        raise ModelError(
            "engine.compile=true needs fused layers, and this model runs on those of transformers; "
            "leave engine.compile=false"
        )
    kind = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind in ("dynamic", "longrope"):
        raise ModelError(
            f"engine.compile=true cannot record rotary embeddings of type {kind}, which look at the length "
            "of the sequence; leave engine.compile=false"
        )
