"""A server of W&B that is gone, or takes a connection and never answers, costs a run nothing but a line."""

import json
import socket

import pytest
from bench import rows_of

from runners.wandb_logger import Destination, log_run


@pytest.mark.parametrize(
    "listening", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["hanging", "gone"]
)
def test_a_server_that_does_not_answer(tmp_path, monkeypatch, caplog, listening):
    pytest.importorskip("wandb")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listening:
            server.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        assert log_run({}, {}, [], tmp_path, Destination("online", timeout_s=2)) is None
    assert len(caplog.records) == 1 and "whose results are stored" in caplog.text


def test_a_run_is_finished_and_found_without_wandb(bench, tmp_path, monkeypatch, caplog):
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "wandb.py").write_text("raise ImportError('No module named wandb')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    finished = bench.run("limit=1", "max_new_tokens=8", "logger=wandb", "logger.mode=online")
    assert (finished.folder / "DONE").exists() and len(rows_of(finished)) == 1
    assert json.loads((finished.folder / "metrics.json").read_text())["examples"] == 1
    assert "No module named wandb" in caplog.text
    assert not bench.run("limit=1", "max_new_tokens=8", "logger=wandb", "logger.mode=online").fresh
