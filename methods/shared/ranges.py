"""Ranges of parameters, refused in the same words everywhere."""

from typing import Any

from methods.shared.errors import MethodError

# What a tensor's indices and the columns of the results hold.
MOST = 2**31 - 1


def at_least(params: Any, least: float, *names: str, most: int = MOST) -> None:
    """Refuse parameters below a bound, or absurdly above it; None passes."""
    for name in names:
        value = getattr(params, name)
        # Not `value < least`: NaN is refused too.
        if value is not None and not least <= value <= most:
            bound = f"at most {most}" if value > most else f"{least:g} or more"
            raise MethodError(f"{name}={value} is out of range: it must be {bound}")


def each_at_least(params: Any, least: float, name: str, most: int = MOST) -> None:
    """Refuse a list with a number below a bound, or absurdly above it; None passes."""
    values = getattr(params, name)
    if values is not None and not all(least <= value <= most for value in values):
        raise MethodError(f"{name}={values} is out of range: each must lie in [{least:g}, {most}]")


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
