"""Streams that are closed, full, unread or of a narrow alphabet: the work goes on, and is kept."""

import os
import subprocess
import sys

import pytest
from bench import ROOT

RUN = [sys.executable, str(ROOT / "run.py")]
TALK = """
import os, sys
from runners.streams import steady, unwritten
steady()
print("\\xe9" * 100_000)
sys.stdout.flush()
print("more", file=sys.stderr)
assert [os.get_inheritable(number) for number in range(3)] == [True] * 3
kept = open(sys.argv[1], "w")
assert kept.fileno() > 2
kept.write(unwritten() or "written")
"""


def shell(line, *arguments, **variables):
    """Status and stderr of a line of bash, which finds the arguments as $@."""
    done = subprocess.run(
        ["bash", "-c", line, "bash", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode()


@pytest.mark.parametrize(
    ("streams", "kept"),
    [
        (">&-", "written"),
        ("2>&-", "written"),
        ("<&- >&- 2>&-", "written"),
        ("| true", "written"),
        ("| head -c 1", "written"),
        ("2>&1 >/dev/null | true", "written"),
        pytest.param(
            "> /dev/full",
            "the output cannot be written: No space left on device",
            marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full"),
        ),
    ],
)
def test_the_work_goes_on(tmp_path, streams, kept):
    status, _, err = shell(f'set -o pipefail; "$@" {streams}', sys.executable, "-c", TALK, tmp_path / "kept")
    assert status == 0 and "Error" not in err and "Exception" not in err
    assert (tmp_path / "kept").read_text() == kept


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_letters_that_an_encoding_lacks(tmp_path, variables):
    variables = {"PYTHONCOERCECLOCALE": "0", **variables}
    status, out, _ = shell('"$@"', sys.executable, "-c", TALK, tmp_path / "kept", **variables)
    assert status == 0 and out.startswith(r"\xe9\xe9")


def test_what_is_shown_may_stay_unread():
    assert shell('set -o pipefail; "$@" | true', *RUN, "--help") == (0, "", "")


def test_a_run_that_nobody_watches(bench):
    usual = bench.overrides("limit=1", "max_new_tokens=2", "runner.baseline=none")
    assert shell('"$@" <&- >&- 2>&-', *RUN, *usual)[0] == 0
    assert len(list(bench.results.glob("*/DONE"))) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_behind_the_output():
    status, _, err = shell('"$@" > /dev/full', *RUN, "--list")
    assert (status, err) == (2, "error: the output cannot be written: No space left on device\n")


def test_a_report_that_nobody_reads(tmp_path):
    line = 'set -o pipefail; "$@" | true'
    status, _, err = shell(line, sys.executable, "-m", "analysis", "report", tmp_path)
    assert status == 2 and err.count("\n") == 1


def test_no_home(bench, monkeypatch, command):
    """Neither a variable nor the system knows one, as in a container under a foreign user id."""

    def unknown(*_):
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("HOME", "USER", "LOGNAME", "TERM"):
        monkeypatch.delenv(name, raising=False)
    usual = bench.overrides("limit=1", "max_new_tokens=2", "runner.baseline=none")
    assert command(*usual)[0] == 0
    assert command(*usual, "force=true", "results_dir=~/x")[::2] == (
        2,
        "error: ~/x: there is no home folder ~\n",
    )
