"""Ranges of parameters, refused in the same words everywhere."""

from typing import Any

from methods.shared.errors import MethodError


def at_least(params: Any, least: float, *names: str) -> None:
    """Refuse parameters below a bound; None passes."""
    for name in names:
        value = getattr(params, name)
        # Not `value < least`: NaN is refused too.
        if value is not None and not value >= least:
            raise MethodError(f"{name}={value} is out of range: it must be {least:g} or more")


def within(params: Any, least: float, most: float, *names: str) -> None:
    """Refuse parameters outside an interval; None passes."""
    for name in names:
        value = getattr(params, name)
        if value is not None and not least <= value <= most:
            raise MethodError(f"{name}={value} is out of range: it must lie in [{least:g}, {most:g}]")


def one_of(params: Any, name: str, *choices: str) -> None:
    """Refuse a word that is not one of the choices."""
    if getattr(params, name) not in choices:
        raise MethodError(f"{name}={getattr(params, name)} is unknown; choose {', '.join(choices)}")
