"""Every protection taken away in a copy of the project, one at a time: the test that guards it then fails."""

import os
import re
import resource
import signal
import subprocess
import sys
from functools import partial

import pytest

from copied import ROOT, copy_project
from protections import PROTECTIONS

SECONDS, MEMORY = 120, 2**34


def test_the_words_that_protect_are_there():
    """In the default suite: whoever changes them changes their mutation too."""
    for one in PROTECTIONS:
        assert (ROOT / one.file).read_text().count(one.old) == 1, one
        file, _, name = one.test.partition("::")
        name = name.rpartition("::")[2].partition("[")[0]
        assert not name or f"def {name}(" in (ROOT / "tests" / file).read_text(), one


def outcome(folder, *tests, seconds):
    """Run tests of a copy of the project; the exit status and what was said, None after so many seconds."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *tests]
    # Some protections keep a reader from filling the memory.
    limited = partial(resource.setrlimit, resource.RLIMIT_AS, (MEMORY, MEMORY))
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(
        command, cwd=folder, env=environment, start_new_session=True, preexec_fn=limited, **streams
    ) as process:
        try:
            said = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, ""
    return process.returncode, said


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project without its history, where words can go missing; as long as they are there, all tests
    pass."""
    folder = tmp_path_factory.mktemp("copy")
    copy_project(folder)
    status, said = outcome(folder, *{f"tests/{one.test}" for one in PROTECTIONS}, seconds=10 * SECONDS)
    assert status == 0, said
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "protection", PROTECTIONS, ids=lambda one: f"{one.test.rpartition('::')[2]}-{one.file}"
)
def test_it_is_noticed_that_a_protection_is_gone(copy, protection):
    path = copy / protection.file
    whole = path.read_text()
    path.write_text(whole.replace(protection.old, protection.new))
    try:
        status, said = outcome(copy, f"tests/{protection.test}", seconds=SECONDS)
    finally:
        path.write_text(whole)
    assert status == 1 or (status is None and protection.endless), said
    # Not because the words that remain make no sense.
    assert not re.search(r"\b(SyntaxError|NameError|IndentationError)\b", said)
