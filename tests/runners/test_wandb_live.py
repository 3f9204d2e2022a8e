"""Progress on W&B, if asked for; tags; and a word to those who do not use it."""

import json

import pytest

from progress import progress_in
from runners.errors import RunError
from runners.settings import LoggerConfig
from runners.wandb_hint import suggest_none
from runners.wandb_live import EVERY_S, Live
from runners.wandb_logger import Destination, content

# In the place of wandb: writes what it is told.
TELLING = """
import json, os
class Settings:
    def __init__(self, **given): pass
class Run:
    def __init__(self, given): self.told = [given["id"], given["mode"]]
    def log(self, line): self.told.append(line)
    def finish(self): open(os.environ["TOLD"], "w").write(json.dumps(self.told))
def init(**given): return Run(given)
"""
ONLINE = LoggerConfig(mode="online", live=True)


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A function for what the pretended W&B was told."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(TELLING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    return lambda: json.loads((tmp_path / "told").read_text())


def test_once_a_minute_and_no_more(told, tmp_path):
    live = Live.of(ONLINE, tmp_path / "run-1", total=20, done=4)
    now = [0.0]
    live._clock, live._told = lambda: now[0], 0.0
    for minutes in (0.5, 1.0, 1.5, 2.1):
        now[0] = minutes * EVERY_S
        live.update(2, None if minutes == 1 else 30.5)
    live.close()
    assert told() == [
        *("run-1", "online"),
        {"progress/examples": 8, "progress/share": 0.4},
        {"progress/examples": 12, "progress/share": 0.6, "progress/tokens_per_s": 30.5},
    ]


def test_nobody_is_told_unless_asked_for(tmp_path):
    live = Live.of(LoggerConfig(mode="online"), tmp_path, total=2, done=0)
    live.update(2, 1.0)
    live.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", ["raise OSError('no server')", "import time; time.sleep(60)"])
def test_what_fails_or_hangs_harms_nothing(tmp_path, monkeypatch, caplog, source):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setattr(Destination, "timeout_s", 0.5)
    live = Live.of(ONLINE, tmp_path / "run", total=10**6, done=0)
    live._clock = iter(range(0, 10**9, 100)).__next__
    # More than a pipe holds.
    for _ in range(3000):
        live.update(1, 1.0)
    live.close()
    assert live._process.poll() is not None and len(caplog.records) == 1


def test_a_run_tells_and_is_told_afterwards(bench, told, monkeypatch):
    monkeypatch.setattr("runners.wandb_live.EVERY_S", -1.0)
    monkeypatch.setattr("runners.execute.log_run", lambda *_: None)
    bench.run("logger=wandb", "logger.mode=online", "logger.live=true", "limit=2", "max_new_tokens=4")
    name, mode, *lines = told()
    assert (name.startswith("tiny-"), mode) == (True, "online")
    assert [line["progress/examples"] for line in lines] == [1, 2]


@pytest.mark.parametrize("given", [{"mode": "offline"}, {"name": "none", "mode": "disabled"}])
def test_progress_needs_a_server(given):
    with pytest.raises(RunError, match=r"logger.live=true .* needs logger.mode=online"):
        LoggerConfig(live=True, **given)


def test_tags():
    metrics = {"method": "ffnskip", "task": "xsum", "model": "m" * 99}
    assert content({}, metrics, [])["tags"] == ["ffnskip", "xsum", "m" * 64]
    assert content({}, {"method": "full"}, [])["tags"] == ["full"]


class TestHint:
    @pytest.fixture(autouse=True)
    def nobody(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.delenv("WANDB_API_KEY", raising=False)

    def said(self, capsys, mode="offline"):
        suggest_none(Destination(mode))
        return len(progress_in(capsys.readouterr().err))

    def test_once(self, capsys):
        assert [self.said(capsys) for _ in range(3)] == [1, 0, 0]

    @pytest.mark.parametrize("mode", ["online", "disabled"])
    def test_not_to_who_has_chosen(self, capsys, mode):
        assert self.said(capsys, mode) == 0 and self.said(capsys) == 1

    def test_not_to_who_has_logged_in(self, capsys, tmp_path, monkeypatch):
        (tmp_path / "netrc").write_text("machine api.wandb.ai login user password x\n")
        assert self.said(capsys) == 0
        (tmp_path / "netrc").write_text("machine example.org login user password x\n")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        assert self.said(capsys) == 0
        monkeypatch.delenv("WANDB_API_KEY")
        assert self.said(capsys) == 1

    def test_a_cache_that_cannot_be_written_is_no_matter(self, capsys, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "file" / "below"))
        assert self.said(capsys) == 0
