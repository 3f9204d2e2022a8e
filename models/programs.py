"""Sub-layers compiled ahead of time by torch's own compiler, and kept in the user's cache folder.

What a program computes is written here in plain torch, one function a sub-layer. Ahead of time, because a
call that first has to check whether it may run costs as much as the sub-layer of a small model.
"""

import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F

from models.cache_folder import cache_root, machine
from models.errors import ModelError, first_line

Program = Callable[[list[Tensor]], list[Tensor]]

# What shapes are traced with; any two that are not equal and not 1 would do.
_ROWS, _CAPACITY, _LENGTH = 3, 512, 192
# Largest of each that a program takes.
_MOST_ROWS, _MOST_SLOTS = 2**20, 2**20


@dataclass(frozen=True)
class Shape:
    """What the sub-layers of a Llama-like model have to be compiled for.

    Attributes
    ----------
    width, ffn_width, heads, kv_heads, head_width : int
    scale : float
        Of attention scores.
    epsilon : float
        Of the norms.
    dtype : torch.dtype
    qkv_bias, out_bias, gate_up_bias, down_bias, head_norms : bool
        Which optional parameters there are.
    """

    width: int
    ffn_width: int
    heads: int
    kv_heads: int
    head_width: int
    scale: float
    epsilon: float
    dtype: torch.dtype
    qkv_bias: bool
    out_bias: bool
    gate_up_bias: bool
    down_bias: bool
    head_norms: bool


class _Block(nn.Module):
    """A sub-layer as a function of its state and weights."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    def examples(self, rows: int) -> list[Tensor]:
        """Inputs to trace with, in the order of `forward`'s."""
        raise NotImplementedError

    def open(self, rows: int) -> list[dict[int, Any] | None]:
        """Which of their dimensions stay open."""
        raise NotImplementedError

    def _normed(self, state: Tensor, weight: Tensor) -> Tensor:
        """RMS norm in float32."""
        full = state.float()
        full = full * torch.rsqrt(full.square().mean(-1, keepdim=True) + self.shape.epsilon)
        return (full * weight.float()).to(state.dtype)

    def _turned(self, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Rotary embedding; sin comes with the first half's sign turned."""
        first, second = heads.chunk(2, dim=-1)
        return heads * cos + torch.cat((second, first), dim=-1) * sin

    def _weight(self, *sizes: int) -> Tensor:
        return torch.zeros(sizes, dtype=self.shape.dtype)

    def _slots(self, rows: int) -> list[Tensor]:
        """Rotary tables, slot, keys, values: what a block that writes K,V takes besides."""
        one = self.shape
        table = torch.zeros(rows, 1, 1, one.head_width, dtype=one.dtype)
        store = torch.zeros(rows, one.kv_heads, _CAPACITY, one.head_width, dtype=one.dtype)
        return [table, table.clone(), torch.tensor([_LENGTH - 1]), store, store.clone()]


class _Attention(_Block):
    """The attention sub-layer of one token, its residual add included; writes K,V into the slot."""

    def examples(self, rows: int) -> list[Tensor]:
        one = self.shape
        cos, sin, slot, keys, values = self._slots(rows)
        outputs = (one.heads + 2 * one.kv_heads) * one.head_width
        found = [torch.zeros(rows, 1, one.width, dtype=one.dtype), cos, sin]
        found += [torch.zeros(rows, 1, 1, _LENGTH), slot, keys, values]
        found += [self._weight(one.width), self._weight(outputs, one.width)]
        found += [self._weight(one.width, one.heads * one.head_width)]
        found += [self._weight(outputs)] * one.qkv_bias + [self._weight(one.width)] * one.out_bias
        found += [self._weight(one.head_width), self._weight(one.head_width)] * one.head_norms
        return found

    def open(self, rows: int) -> list[dict[int, Any] | None]:
        first = _batch(rows)
        slots, seen = Dim("capacity", min=3, max=_MOST_SLOTS), Dim("length", min=2, max=_MOST_SLOTS - 1)
        rest = len(self.examples(rows)) - 7
        return [first, first, first, {**first, 3: seen}, None, *[{**first, 2: slots}] * 2, *[None] * rest]

    def forward(self, inputs: list[Tensor]) -> Tensor:
        state, cos, sin, mask, slot, keys, values, norm, qkv, out, *more = inputs
        one, rows = self.shape, state.shape[0]
        projected = _product(self._normed(state, norm).view(rows, -1), qkv, more, one.qkv_bias)
        out_bias = [more.pop(0)] if one.out_bias else []
        queries, new, value = projected.view(rows, -1, 1, one.head_width).split(
            (one.heads, one.kv_heads, one.kv_heads), dim=1
        )
        if one.head_norms:
            queries, new = self._normed(queries, more[0]), self._normed(new, more[1])
        keys.index_copy_(2, slot, self._turned(new, cos, sin))
        values.index_copy_(2, slot, value)
        length = mask.shape[3]
        torch._check(length <= keys.shape[2])
        # Queries that share a key head, side by side.
        shared = self._turned(queries, cos, sin).view(rows, one.kv_heads, -1, 1, one.head_width).float()
        scores = (shared * keys.narrow(2, 0, length)[:, :, None].float()).sum(-1) * one.scale + mask
        mixed = torch.matmul(torch.softmax(scores, -1), values.narrow(2, 0, length).float())
        mixed = mixed.to(state.dtype).view(rows, -1)
        return state + _product(mixed, out, out_bias, one.out_bias).view(state.shape)


class _WriteKV(_Block):
    """K,V of one token of a state, into the slot."""

    def examples(self, rows: int) -> list[Tensor]:
        one = self.shape
        outputs = 2 * one.kv_heads * one.head_width
        found = [torch.zeros(rows, 1, one.width, dtype=one.dtype), *self._slots(rows)]
        found += [self._weight(one.width), self._weight(outputs, one.width)]
        return (
            found + [self._weight(outputs)] * one.qkv_bias + [self._weight(one.head_width)] * one.head_norms
        )

    def open(self, rows: int) -> list[dict[int, Any] | None]:
        first, slots = _batch(rows), Dim("capacity", min=3, max=_MOST_SLOTS)
        rest = len(self.examples(rows)) - 6
        return [first, first, first, None, *[{**first, 2: slots}] * 2, *[None] * rest]

    def forward(self, inputs: list[Tensor]) -> Tensor:
        state, cos, sin, slot, keys, values, norm, weight, *more = inputs
        one, rows = self.shape, state.shape[0]
        projected = _product(self._normed(state, norm).view(rows, -1), weight, more, one.qkv_bias)
        new, value = projected.view(rows, -1, 1, one.head_width).chunk(2, dim=1)
        if one.head_norms:
            new = self._normed(new, more[0])
        keys.index_copy_(2, slot, self._turned(new, cos, sin))
        values.index_copy_(2, slot, value)
        # A program has to return something.
        return slot + 0


class _FFN(_Block):
    """The FFN sub-layer of tokens [n, width], its residual add included."""

    def examples(self, rows: int) -> list[Tensor]:
        one = self.shape
        found = [torch.zeros(rows, one.width, dtype=one.dtype), self._weight(one.width)]
        found += [self._weight(2 * one.ffn_width, one.width), self._weight(one.width, one.ffn_width)]
        return (
            found
            + [self._weight(2 * one.ffn_width)] * one.gate_up_bias
            + [self._weight(one.width)] * one.down_bias
        )

    def open(self, rows: int) -> list[dict[int, Any] | None]:
        return [_batch(rows), *[None] * (len(self.examples(rows)) - 1)]

    def forward(self, inputs: list[Tensor]) -> Tensor:
        state, norm, gate_up, down, *more = inputs
        one = self.shape
        gate, up = _product(self._normed(state, norm), gate_up, more, one.gate_up_bias).chunk(2, dim=-1)
        return state + _product(F.silu(gate) * up, down, more, one.down_bias)


def _product(state: Tensor, weight: Tensor, biases: list[Tensor], biased: bool) -> Tensor:
    """States times a matrix; takes its bias off the list if it has one."""
    return torch.addmm(biases.pop(0), state, weight.t()) if biased else torch.mm(state, weight.t())


def _batch(rows: int) -> dict[int, Any]:
    return {0: Dim("rows", min=2, max=_MOST_ROWS)} if rows > 1 else {}


_BLOCKS: dict[str, type[_Block]] = {"attention": _Attention, "write_kv": _WriteKV, "ffn": _FFN}


class Programs:
    """The compiled sub-layers of one shape: for a single row, and for any number of them.

    Parameters
    ----------
    shape : Shape
    """

    def __init__(self, shape: Shape):
        self._shape = shape
        self._loaded: dict[tuple[str, bool, int], Program] = {}
        self._current: dict[tuple[str, bool], Program] = {}

    def ready(self, rows: int) -> None:
        """Load what batches of up to `rows` rows need, compiling what is not in the cache folder.

        Raises
        ------
        ModelError
            There is no working C++ compiler, or the cache folder cannot be written.
        """
        threads = torch.get_num_threads()
        for name in _BLOCKS:
            for many in (False, True)[: 1 + (rows > 1)]:
                key = (name, many, threads)
                if key not in self._loaded:
                    self._loaded[key] = _load(self._shape, name, many, threads)
                self._current[name, many] = self._loaded[key]

    def find(self, name: str, rows: int) -> Program:
        """The program of a sub-layer (attention, write_kv or ffn) for so many rows."""
        return self._current[name, rows > 1]


programs_of = cache(Programs)


def _load(shape: Shape, name: str, many: bool, threads: int) -> Program:
    # With these definitions: what they say is what was compiled.
    facts = f"{shape} {threads} {machine()} {Path(__file__).read_text()}"
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]
    path = cache_root() / "programs" / f"{name}-{'rows' if many else 'row'}-{key}.pt2"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", fallback_to_soft=False):
            if not path.exists():
                _compile(_BLOCKS[name](shape), _ROWS if many else 1, path)
        with _quiet():
            run: Program = torch._inductor.aoti_load_package(str(path)).loader.boxed_run
        return run
    except OSError as error:
        raise ModelError(
            f"engine.compile=true cannot write {path.parent}: {error.strerror or error}"
        ) from error


def _compile(block: _Block, rows: int, path: Path) -> None:
    with _quiet(), tempfile.TemporaryDirectory(dir=path.parent) as work, torch.no_grad():
        try:
            traced = torch.export.export(
                block, (block.examples(rows),), dynamic_shapes=(block.open(rows),), strict=False
            )
            made = torch._inductor.aoti_compile_and_package(traced, package_path=f"{work}/{path.name}")
        except RuntimeError as error:
            # The compiler's own errors are all of this kind.
            raise ModelError(
                f"engine.compile=true could not compile the layers ({first_line(error)}); it needs a C++ "
                "compiler (g++): install one, or leave engine.compile=false"
            ) from error
        os.replace(made, path)


@contextmanager
def _quiet() -> Any:
    """The compiler's advice is for those who work on it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
