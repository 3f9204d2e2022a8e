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
from runners.notices import printable
from tasks.errors import DataError

STUDIES = ("experiment", "debug")
# Longer than any key, shorter than what a file system refuses as a name.
_LONGEST_KEY = 200
_LONGEST_LINE = 900
# The key by which Hydra finds what to call; as part of another word it is harmless.
_TARGET = re.compile(r"(?<!\w)_target_[\"']?\s*[=:]")
# Of Hydra's own keys those that hold a plain value. Its others can name code: callbacks, handlers of logs.
_OPTION = re.compile(
    r"hydra/(launcher|sweeper|hydra_logging|job_logging)|hydra\.(sweep|run)\.dir|hydra\.mode|hydra\.verbose|"
    r"hydra\.(launcher|sweeper)\.(?!params\b)[a-z]\w*"
)
USER_ERRORS = (RunError, ModelError, MethodError, DataError, HydraException, OmegaConfBaseException)


def check_arguments(arguments: Sequence[str]) -> bool:
    """Refuse what Hydra would answer with a usage page, or accept and not mean.

    Returns
    -------
    bool
        Something is to be run, and not only shown.

    Raises
    ------
    RunError
        An option does not exist, or a group is set to nothing, to several things, or added.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    given = parser.parse_args(arguments)
    if given.experimental_rerun:
        raise RunError("--experimental-rerun reads a pickle, which can run code; give the keys themselves")
    if given.config_path or given.config_dir or "hydra.searchpath" in "".join(arguments):
        raise RunError("configurations are read from conf/ alone; put your own into conf/experiment/")
    if given.resolve and not given.cfg:
        raise RunError("--resolve goes with --cfg job")
    for argument in given.overrides:
        key, equals, value = argument.partition("=")
        group = key.lstrip("~+")
        if _TARGET.search(argument):
            raise RunError(f"{argument} names code to run; a configuration holds values alone")
        if not group or len(group) > _LONGEST_KEY:
            raise RunError(f"cannot read the argument {argument!r}; write key=value")
        if re.match(r"hydra\b", group):
            _check_option(argument, group, value)
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
    shown = (given.cfg, given.info, given.help, given.hydra_help, given.shell_completion)
    return not any(shown)


def _check_option(argument: str, key: str, value: str) -> None:
    if not _OPTION.fullmatch(key):
        raise RunError(
            f"{argument}: of Hydra's own keys only hydra/launcher, hydra/sweeper, their options, "
            "hydra.sweep.dir, hydra.run.dir, hydra.mode, hydra.verbose and hydra/job_logging can be set"
        )
    # An interpolation can spell any word, such as the one that names code.
    if key != "hydra.sweep.dir" and "${" in value:
        raise RunError(f"{argument}: an option of Hydra's is a plain value, without an interpolation")


def not_composed(error: Exception) -> Exception:
    """The error of a command line that failed before its first combination began: until then only Hydra has
    worked, and on nothing but the words of the user."""
    if isinstance(error, USER_ERRORS):
        return error
    return RunError(f"the command line cannot be composed: {' '.join(str(error).split())}")


def nothing_ran() -> RunError:
    """The error of a sweep without a single combination."""
    return RunError("nothing to run: a range or a glob of the command line holds no value")


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
    line = printable(_explained(error, conf))
    # What is wrong stands first, what would be right last.
    cut = _LONGEST_LINE // 2
    return line if len(line) <= _LONGEST_LINE else f"{line[:cut]} ... {line[-cut:]}"


def _explained(error: Exception, conf: Path) -> str:
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
    if key.startswith("model.chat_template_kwargs"):
        return f"cannot set {key}; write +{key}=..., or 'model.chat_template_kwargs={{name: value}}'"
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
    more = "; any other is given as model=hub model.path=<hub id, folder or file>" if group == "model" else ""
    return (
        f"unknown {group or 'configuration'} {name!r}{hint} (there are: {', '.join(options) or 'none'}){more}"
    )


def _known_keys(conf: Path) -> set[str]:
    """Every key of every configuration, as a user would write it."""
    keys = {str(key) for key in OmegaConf.load(conf / "config.yaml")} - {"defaults", "hydra"}
    for file in conf.glob("*/*.yaml"):
        if file.parent.name in GROUPS:
            keys |= {f"{file.parent.name}.{key!s}" for key in OmegaConf.load(file)}
    return keys - {f"{group}.{word}" for group in GROUPS for word in ("defaults", "name")}
