"""Errors that a user can mend, said in one line."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from methods.shared.errors import MethodError
from models.errors import ModelError
from runners.configure import GROUPS, unknown_key
from runners.errors import RunError
from tasks.errors import DataError

STUDIES = ("experiment", "debug")
USER_ERRORS = (RunError, ModelError, MethodError, DataError, HydraException, OmegaConfBaseException)


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what Hydra would answer with a usage page, or accept and not mean.

    Raises
    ------
    RunError
        An option does not exist, or a group is set to nothing, to several things, or added.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    parser.parse_args(arguments)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        group = key.lstrip("~+")
        if group in STUDIES:
            _check_study(argument, key, value)
        if group not in GROUPS:
            continue
        nothing = ("", "null") if group in ("logger", "judge") else ("", "null", "none")
        if key.startswith("~") or (equals and value.strip().lower() in nothing):
            raise RunError(f"{argument} chooses no {group}; python run.py --list names what there is")
        if key.startswith("+"):
            raise RunError(f"{argument} would be a second {group}; write {group}={value}")
        if value.startswith("["):
            raise RunError(f"{argument} chooses several at once; to run each, write -m {group}=...,...")


def _check_study(argument: str, key: str, value: str) -> None:
    if value.strip().lower() in ("", "null"):
        raise RunError(f"{argument} chooses no study; python run.py --list names what there is")
    if not key.startswith("+"):
        raise RunError(f"{argument}: a study is added; write +{argument.lstrip('~')}")


def _refuse(message: str) -> NoReturn:
    raise RunError(f"{message}; options such as -m come before the keys")


def one_line(error: Exception, conf: Path) -> str:
    """What is wrong and what would be right.

    Parameters
    ----------
    error
        One of `USER_ERRORS`.
    conf
        The folder of configurations, for the names and keys that there are.
    """
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing(error)
    if isinstance(error, OverrideParseException):
        return f"cannot read the argument {error.override!r}; write key=value, special characters in quotes"
    text = " ".join(str(error).split())
    if isinstance(error, HydraException) and (
        found := re.match(r"Could not (?:override|delete).*?'([^'=]+)", text)
    ):
        return _no_such_key(found[1], conf)
    return text


def _no_such_key(key: str, conf: Path) -> str:
    group, _, name = key.partition(".")
    owners = [file.stem for file in sorted(conf.glob(f"{group}/*.yaml")) if name in OmegaConf.load(file)]
    if owners:
        return f"the {group} chosen has no key {key}; it belongs to {group}={', '.join(owners)}"
    return unknown_key(key, _known_keys(conf), list_all=False)


def _missing(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = list(error.options or ())
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {group or 'configuration'} {name!r}{hint} (there are: {', '.join(options) or 'none'})"


def _known_keys(conf: Path) -> set[str]:
    """Every key of every configuration, as a user would write it."""
    keys = {str(key) for key in OmegaConf.load(conf / "config.yaml")} - {"defaults", "hydra"}
    for file in conf.glob("*/*.yaml"):
        if file.parent.name in GROUPS:
            keys |= {f"{file.parent.name}.{key!s}" for key in OmegaConf.load(file)}
    return keys - {f"{group}.{word}" for group in GROUPS for word in ("defaults", "name")}
