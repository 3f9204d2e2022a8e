"""The `openai` judge against a server that this project did not write: `transformers serve`, on loopback."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq
import pytest
from bench import rows_of
from judge_model import GRADE, PREFERS_FIRST, UNREADABLE, save_judge

from runners.schema import JUDGEMENTS

NEEDED = ("fastapi", "uvicorn", "openai")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason="transformers serve needs fastapi, uvicorn and openai: pip install -e '.[dev]'",
    ),
]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def healthy(address):
    # A short time-out: the port is on this machine.
    with contextlib.suppress(URLError, OSError), urlopen(f"{address}/health", timeout=1) as answer:
        return answer.status == 200
    return False


@dataclass(frozen=True)
class Served:
    """Where a server is, what its model is called, and what it logs."""

    url: str
    model: str
    log: Path

    @property
    def asked(self):
        """Requests for an answer that it has seen."""
        return self.log.read_text().count("POST /v1/chat/completions")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server with a model that judges by a rule."""
    folder = tmp_path_factory.mktemp("served")
    save_judge(folder / "judge", unreadable="Say stem.")
    port = free_port()
    arguments = [
        "serve",
        str(folder / "judge"),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
        "--device",
        "cpu",
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "transformers.cli.transformers", *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **offline},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not healthy(f"http://127.0.0.1:{port}"):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        yield Served(f"http://127.0.0.1:{port}/v1", str(folder / "judge"), log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def talks(bench):
    """A finished run of three conversations of two turns."""
    names = ("stem", "math", "writing")
    rows = [
        {"question_id": name, "category": name, "turns": [f"Say {name}.", "Again?"], "reference": ["r", "s"]}
        for name in names
    ]
    for name, content in (("talks", rows), ("other", [{**rows[0], "question_id": "c", "turns": ["C?"]}])):
        (bench.folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, content)))
    return bench.run(
        *("method=random_ffn", "method.share=0.9", "task=mtbench", "task.source=file", "limit=3"),
        *(f"task.path={bench.folder / 'talks.jsonl'}", "task.names=rules", "max_new_tokens=4"),
        f"task.calibration_path={bench.folder / 'other.jsonl'}",
    )


def test_a_run_is_judged_by_a_server(talks, served, command, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    judge = ["judge", str(talks.folder), "judge=openai", f"judge.model={served.model}"]
    judge += [f"judge.base_url={served.url}", "judge.mode=both", "judge.retries=0"]
    status, out, err = command(*judge)
    assert (status, err) == (0, "") and "judge's grade" in out and "7.00" in out

    (path,) = talks.folder.glob("judgements-*.parquet")
    table = pq.read_table(path)
    assert table.schema.equals(JUDGEMENTS)
    said = table.to_pylist()
    # Two sides, and two orders of every comparison; answers that are the same throughout need no judge.
    assert len(said) == 6 * 4
    answers = {(row["example_id"], row["turn"]): row for row in rows_of(talks)}
    for row in said:
        evaded = row["side"] in ("own", "full") and row["category"] == "stem"
        compared = row["side"] in ("own_first", "full_first")
        if row["question_sha256"] is None:
            one = answers[row["example_id"], row["turn"]]
            assert compared and row["winner"] == "tie" and one["output_text"] == one["full_output_text"]
            continue
        assert row["reply"] == (UNREADABLE if evaded else PREFERS_FIRST if compared else GRADE)
        assert row["parsed"] is not evaded and row["rating"] == (None if evaded or compared else 7)
        # The sentence and the token that ends it, as the server counts them.
        assert row["completion_tokens"] == 2 and row["prompt_tokens"] > 100

    metrics = json.loads((talks.folder / "metrics.json").read_text())
    asked = {row["question_sha256"] for row in said} - {None}
    assert metrics["judge_calls"] == len(asked) == served.asked and metrics["judge_failed"] == 0
    assert metrics["judge_unparsed"] == 4 and metrics["judge_score"] == metrics["full_judge_score"] == 7
    # Whoever always takes the first has told nothing.
    assert (metrics["judge_win_rate"], metrics["judge_tie_rate"], metrics["judge_loss_rate"]) == (0, 1, 0)
    compared = [row for row in said if row["side"] in ("own_first", "full_first") and row["reply"]]
    assert {row["winner"] for row in compared} == {"own", "full"}, "the two sides never differed"

    # What was said is kept: the second time nobody is asked.
    assert command(*judge)[0] == 0 and served.asked == len(asked)
    assert json.loads((talks.folder / "metrics.json").read_text()) == metrics


def test_a_model_that_the_server_lacks_is_one_line(talks, served, command):
    """The server holds one model and refuses others; nothing is judged."""
    judge = [
        "judge",
        str(talks.folder),
        "judge=openai",
        "judge.model=another",
        f"judge.base_url={served.url}",
    ]
    status, _, err = command(*judge, "judge.retries=0")
    assert status == 2 and err.count("\n") == 1 and "400" in err and Path(served.model).name in err
    assert not list(talks.folder.glob("judgements-*.parquet"))
