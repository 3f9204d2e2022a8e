"""Devices that are not there: tensors live on the host and know a device, and those of two never meet.

Every call of torch goes through here. A result is on the device of what it was made from; only `to` and
`copy_` go from one to another. What a real device would refuse is a `Mixed`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

HOST = torch.device("cpu")
_DATA, _DEVICE = torch.Tensor.data, torch.Tensor.device
_BETWEEN = {Tensor.copy_, torch.utils.swap_tensors}


class Mixed(AssertionError):
    """Tensors of two devices in one call."""


class Pretended(TorchFunctionMode):
    """While it is entered, tensors can be on devices `xpu:0`, `xpu:1`, and so on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        given = list(_tensors((args, kwargs)))
        if func == _DEVICE.__get__:
            return device_of(args[0])
        if func == _DATA.__set__:
            args[0].pretended = device_of(args[1])
            return func(*args)
        asked = kwargs.pop("device", None)
        if func is Tensor.to:
            target = next((one for one in (*args[1:], asked) if _names_device(one)), device_of(args[0]))
            args = [HOST if _names_device(one) else one for one in args]
            result = func(*args, **kwargs) if len(args) > 1 or kwargs else args[0]
            where = torch.device(target)
            # Another tensor: its own stays where it is.
            return _put(result.clone() if result is args[0] and where != device_of(result) else result, where)
        # By a slice it is a copy; with tensors as indices a kernel, which wants all of them.
        indexed = func is Tensor.__setitem__ and next(_tensors(args[1]), None) is not None
        if func not in _BETWEEN and (func is not Tensor.__setitem__ or indexed):
            # A number on the host may meet anything.
            found = {device_of(one) for one in given if not (one.dim() == 0 and device_of(one) == HOST)}
            if len(found) > 1:
                raise Mixed(f"{getattr(func, '__name__', func)} of tensors on {sorted(map(str, found))}")
        where = torch.device(asked) if asked is not None else next(map(device_of, given), HOST)
        result = func(*args, **kwargs)
        return tree_map(lambda one: _put(one, where) if isinstance(one, Tensor) else one, result)


def device_of(tensor: Tensor) -> torch.device:
    """The device that a tensor pretends to be on."""
    return getattr(tensor, "pretended", HOST)


def _put(tensor: Tensor, device: torch.device) -> Tensor:
    tensor.pretended = device  # type: ignore[attr-defined]
    return tensor


def _tensors(values: Any) -> Iterator[Tensor]:
    return (one for one in tree_leaves(values) if isinstance(one, Tensor))


def _names_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value.startswith(("xpu", "cpu")))
