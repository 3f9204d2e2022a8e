"""Methods by name: every file of this room is one."""

import difflib
import importlib
from pathlib import Path

from methods.shared.errors import MethodError
from methods.shared.method import Method


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted(file.stem for file in Path(__file__).parents[1].glob("*.py") if file.stem != "__init__")


def method_class(name: str) -> type[Method]:
    """The class of a method.

    Raises
    ------
    MethodError
        No such method; the message names the nearest one.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise MethodError(f"unknown method {name!r}{hint} Known methods: {', '.join(names())}")
    module = importlib.import_module(f"methods.{name}")
    (found,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    return found
