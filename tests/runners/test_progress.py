"""What somebody who waits is told: a bar on a terminal, lines with the time of day in a log."""

import re
import sys

import pytest

from progress import errors_in, progress_in
from runners.bars import EVERY_S, Bar
from runners.notices import say


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_line_in_a_log_has_the_time_of_day(capsys):
    say("Loading m\x1b[31m")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\[\d\d:\d\d:\d\d\] Loading m\\x1b\[31m", line)
    assert (
        progress_in(line + "\n") == [r"Loading m\x1b[31m"]
        and errors_in(line + "\nerror: x\n") == "error: x\n"
    )


def test_a_line_on_a_terminal_has_not(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    say("Loading m")
    assert capsys.readouterr().err == "Loading m\n"


@pytest.mark.parametrize("stream", [None, open(__file__)])  # noqa: SIM115
def test_nobody_need_be_there(monkeypatch, stream):
    """A service has no stderr; a reader may have gone away."""
    if stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    say("Loading m")


def test_a_log_is_told_now_and_then(capsys):
    clock = Clock()
    bar = Bar(10, "example", initial=2, desc="ffnskip", clock=clock)
    bar.set_postfix_str("31.0 tokens/s")
    for done in range(8):
        clock.now = (done + 1) * EVERY_S / 2
        bar.update(1)
    bar.close()
    told = progress_in(capsys.readouterr().err)
    # Every second example took it past the interval; the end is told by what comes after it.
    assert [line.split(",")[0] for line in told] == [f"ffnskip: {done} of 10 examples" for done in (4, 6, 8)]
    assert told[0] == "ffnskip: 4 of 10 examples, 31.0 tokens/s, about 3 min left"
    assert told[2].endswith(", about 60 s left")


@pytest.mark.parametrize(("seconds", "said"), [(64, "96 s"), (90, "2 min"), (2400, "1 h 0 min")])
def test_what_is_left_in_words(capsys, seconds, said):
    clock = Clock()
    bar = Bar(5, "example", clock=clock)
    clock.now = seconds
    bar.update(2)
    (line,) = progress_in(capsys.readouterr().err)
    assert line == f": 2 of 5 examples, about {said} left"


def test_a_run_says_what_it_does(bench, capsys):
    bench.run("method=random_ffn", "method.target_skip=0.2", "limit=3", "runner.baseline=none")
    told = progress_in(capsys.readouterr().err)
    assert [line.split()[0] for line in told if "skips" not in line] == ["Loading", "Solving", "Answering"]
    assert told[1] == "Solving share for 0.2 skipped, on 40 calibration prompts"
    assert re.fullmatch(r"share=0\.\d+ skips 0\.\d+, 0\.2 is wanted", told[2])
    assert told[-1] == "Answering 3 examples with random_ffn"
