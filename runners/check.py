"""`run.py check`: whether a method keeps what every method has to keep."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from methods.shared.registry import method_class
from runners.errors import RunError

_ROOT = Path(__file__).resolve().parents[1]
_SUITE = ("tests/methods/test_contract.py", "tests/methods/test_ranges.py", "tests/test_conf.py")
_TABLE = _ROOT / "tests/methods/contract.py"


def check_command(arguments: Sequence[str]) -> tuple[str, int]:
    """`run.py check method=<name>`: a line for each promise that is broken, and the exit status.

    The promises are the contract suite's: off is the full model, a batch is its rows alone, work is counted
    once, a restart changes nothing, parameters and YAML agree, and what is out of range is refused.

    Raises
    ------
    RunError, MethodError
        No such method, or the suite cannot be run.
    """
    if len(arguments) != 1 or not arguments[0].startswith("method="):
        raise RunError("check takes one method: python run.py check method=<name>")
    name = arguments[0].removeprefix("method=")
    method_class(name)
    if find_spec("pytest") is None or not _TABLE.is_file():
        raise RunError("check runs the tests of the checkout; install them: pip install -e '.[dev]'")
    if f'"{name}": Row(' not in _TABLE.read_text(encoding="utf-8"):
        raise RunError(
            f"method={name} has no row in tests/methods/contract.py, which says with what it is off and on; "
            "CONTRIBUTING.md shows one"
        )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--no-header",
        "--tb=line",
        "-p",
        "no:cacheprovider",
        "-rf",
        *_SUITE,
    ]
    # As a word: `unified` is no part of another method's name.
    command += ["-k", f"{name} and not ({' or '.join(_longer(name))})" if _longer(name) else name]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return _summary(name, done.stdout), min(done.returncode, 1)


def _longer(name: str) -> list[str]:
    """Other methods whose names contain this one."""
    methods = [file.stem for file in (_ROOT / "methods").glob("*.py")]
    return [other for other in methods if name in other and other != name]


def _summary(name: str, said: str) -> str:
    failed = re.findall(r"^FAILED \S*?::(\w+)(\[.*?\])? - (.*)$", said, re.MULTILINE)
    lines = [f"{test.removeprefix('test_').replace('_', ' ')} {case}: {why}" for test, case, why in failed]
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)|in [\d.]+s", said)
    verdict = "keeps its promises" if not failed and "passed" in said else "breaks what methods promise"
    return "\n".join([*lines, f"{name} {verdict}: {', '.join(counts) or said[-300:]}"])
