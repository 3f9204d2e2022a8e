"""The run folder in one process: order of files, the journal, refusals of the disk in one line."""

import errno
import json
import math
import os
import random
import socket
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runners import files
from runners.errors import RunError
from runners.files import write_bytes
from runners.progress import Progress
from runners.schema import METRICS, SAMPLES
from runners.storage import RunFolder, find_runs


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "results", "smol-factoidqa-full-0123abcd")
    folder.start("seed: 0\n", {"python": "3.11"})
    return folder


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def names(run):
    return sorted(path.name for path in run.path.iterdir())


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "a/b", "a\\b", "../x", ".hidden", "a b", "a\n", "x" * 201, "a\0b"]
)
def test_a_run_id_that_is_no_plain_name_is_refused(tmp_path, run_id):
    with pytest.raises(RunError, match="cannot name a folder") as error:
        RunFolder(tmp_path, run_id)
    one_line(error)


def test_nothing_is_created_by_looking(tmp_path):
    folder = RunFolder(tmp_path / "results", "a")
    assert not folder.is_done() and folder.read_journal() == [] and find_runs(tmp_path / "results") == []
    folder.reset()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_whole_and_done_comes_last(run, monkeypatch):
    assert names(run) == ["config.yaml", "environment.json"]
    run.append({"rows": [], "state": {}, "wall_s": 1.0})
    written = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (written.append(new.name), replace(old, new)))
    run.finish([{"example_id": "a"}], {"quality": 0.5}, {"openai": pa.table({"verdict": ["A"]})})
    assert written == ["samples.parquet", "metrics.json", "judgements-openai.parquet", "DONE"]
    assert names(run) == sorted([*written, "config.yaml", "environment.json"])
    assert run.is_done() and run.read_journal() == []
    assert pq.read_schema(run.path / "samples.parquet").equals(SAMPLES)
    assert run.read_rows()[0]["example_id"] == "a"
    assert list(run.read_metrics()) == METRICS.names and run.read_metrics()["quality"] == 0.5
    assert [found.path for found in find_runs(run.root)] == [run.path]
    assert [found.path for found in find_runs(run.path)] == [run.path.resolve()]


def test_wrong_results_leave_everything_as_it_was(run):
    run.append({"rows": [1]})
    before = names(run)
    with pytest.raises(ValueError, match="no_such_column"):
        run.finish([{"no_such_column": 1}], {})
    with pytest.raises(ValueError, match="no_such_metric"):
        run.finish([], {"no_such_metric": 1})
    assert names(run) == before and not run.is_done()


def test_rescoring_replaces_results_and_keeps_done(run):
    run.finish([{"quality": 0.0}], {"quality": 0.0})
    run.finish([{"quality": 1.0}], {"quality": 1.0})
    assert run.is_done() and run.read_metrics()["quality"] == 1.0 and run.read_rows()[0]["quality"] == 1.0


def test_a_reset_removes_what_runs_write_and_nothing_else(run):
    run.finish([], {}, {"hf": pa.table({"verdict": ["A"]})})
    (run.path / "wandb").mkdir()
    (run.path / "wandb" / "file").touch()
    (run.path / "notes.txt").touch()
    run.reset()
    assert names(run) == ["notes.txt"] and find_runs(run.root) == []


def test_a_reset_cut_short_does_not_look_finished(run, monkeypatch):
    run.finish([], {})
    monkeypatch.setattr("runners.storage.sync_folder", lambda folder: fail(errno.EIO))
    with pytest.raises(RunError, match="cannot remove"):
        run.reset()
    assert not run.is_done() and (run.path / "metrics.json").exists()


def fail(number):
    raise OSError(number, os.strerror(number))


def test_taking_up_a_run_keeps_the_environment_it_began_in(run):
    run.append({"rows": []})
    run.start("seed: 0\n", {"python": "3.12"})
    run.start("seed: 0\n", {"python": "3.13"})
    found = json.loads((run.path / "environment.json").read_text())
    assert found == {"python": "3.11", "resumed": [{"python": "3.12"}, {"python": "3.13"}]}


def test_a_run_that_measured_nothing_yet_starts_over(run):
    run.start("seed: 1\n", {"python": "3.12"})
    assert json.loads((run.path / "environment.json").read_text()) == {"python": "3.12"}
    assert (run.path / "config.yaml").read_text() == "seed: 1\n"


def test_journal_records_come_back_exactly(run):
    generator = random.Random(0)
    floats = [struct.unpack("d", generator.randbytes(8))[0] for _ in range(500)]
    floats = [value for value in floats if math.isfinite(value)] + [0.1, -0.0, 5e-324, math.inf]
    record = {
        "rows": [
            {"text": "a\nb\r\u2028\x00\x1b\ud83d\ude00\U0001f600\ud800", "none": None, "scores": {"f1": 0.1}}
        ],
        "state": {"floats": floats, "big": 2**127 + 1, "": [], "nested": {"a": {"b": [True, False]}}},
        "wall_s": 0.1 + 0.2,
    }
    run.append(record)
    run.append({"rows": [], "value": math.nan})
    first, second = run.read_journal()
    assert first == record
    assert [math.copysign(1, value) for value in first["state"]["floats"]] == [
        math.copysign(1, v) for v in floats
    ]
    assert math.isnan(second["value"])
    assert run.journal.path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("record", [{"state": {1: "a"}}, {"state": [{None: 1}]}, {"rows": [object()]}])
def test_what_json_would_change_or_lose_is_refused_and_not_written(run, record):
    with pytest.raises(TypeError):
        run.append(record)
    assert run.read_journal() == []


@pytest.mark.parametrize(
    "torn", [b'{"rows": [1', b'{"rows": [1]}', b"\x00\x00\x00", b'{"rows": [1}\n', b"17\n", b"\xff\n"]
)
def test_a_torn_last_line_is_cut_away(run, torn):
    run.append({"n": 1})
    with open(run.journal.path, "ab") as file:
        file.write(torn)
    assert run.read_journal() == [{"n": 1}]
    assert run.journal.path.read_bytes() == b'{"n": 1}\n'


def test_appending_after_a_torn_line_without_reading_first(run):
    run.append({"n": 1})
    with open(run.journal.path, "ab") as file:
        file.write(b'{"text": "' + b"x" * 200_000)
    run.append({"n": 2})
    assert run.read_journal() == [{"n": 1}, {"n": 2}]
    run.journal.path.write_bytes(b"x" * 70_000)
    run.append({"n": 3})
    assert run.read_journal() == [{"n": 3}]


def test_a_broken_line_in_the_middle_is_an_error_with_file_and_line(run):
    run.append({"n": 1})
    with open(run.journal.path, "ab") as file:
        file.write(b'{"n": \n{"n": 3}\n')
    with pytest.raises(RunError, match=r"journal\.jsonl, line 2: not a JSON record") as error:
        run.read_journal()
    one_line(error)


@pytest.mark.parametrize("record", [{}, {"rows": [{}]}, {"rows": 3, "wall_s": 1.0, "state": {}}])
def test_a_journal_of_something_else_is_one_line(run, record):
    run.append(record)
    with pytest.raises(RunError, match=r"journal\.jsonl: not the journal of a run") as error:
        Progress.of(run)
    one_line(error)


def test_a_full_disk_keeps_the_records_before(run, monkeypatch):
    run.append({"n": 1})
    monkeypatch.setattr(os, "fsync", lambda descriptor: fail(errno.ENOSPC))
    with pytest.raises(RunError, match=r"cannot write .*journal\.jsonl: No space left on device") as error:
        run.append({"n": 2})
    one_line(error)
    monkeypatch.undo()
    run.append({"n": 3})
    assert run.read_journal() == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_no_temporary(run, monkeypatch, broken):
    before = names(run)
    monkeypatch.setattr(files.os, broken, lambda *arguments: fail(errno.EROFS))
    with pytest.raises(RunError, match=r"cannot write .*config\.yaml: Read-only file system") as error:
        run.write_text("config.yaml", "seed: 1\n")
    one_line(error)
    monkeypatch.undo()
    assert names(run) == before and (run.path / "config.yaml").read_text() == "seed: 0\n"


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors have no names here")
def test_what_is_told_to_be_safe_is_on_disk(run, monkeypatch):
    """The content before its name, and the name too: what a loss of power would take is not there yet."""
    done = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor):
        done.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append("renamed"), replace(old, new)))
    run.append({"n": 1})
    assert done == ["journal.jsonl", run.run_id]
    done.clear()
    run.append({"n": 2})
    assert done == ["journal.jsonl"]
    done.clear()
    run.write_text("config.yaml", "seed: 1\n")
    assert done == [f".config.yaml.{socket.gethostname()}.{os.getpid()}.partial", "renamed", run.run_id]


def test_an_interrupt_leaves_no_temporary(run, monkeypatch):
    before = names(run)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.write_text("config.yaml", "seed: 1\n")
    monkeypatch.undo()
    assert names(run) == before


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "results").write_text("a file in the way")
    folder = RunFolder(tmp_path / "results", "a")
    for action in (
        lambda: folder.start("", {}),
        lambda: folder.append({}),
        lambda: folder.lock().__enter__(),
    ):
        with pytest.raises(RunError, match=r"cannot .*results") as error:
            action()
        one_line(error)
    assert find_runs(tmp_path / "results") == []


def test_a_folder_that_vanished_is_one_line(run):
    for path in run.path.iterdir():
        path.unlink()
    run.path.rmdir()
    with pytest.raises(RunError, match=r"cannot write .*journal\.jsonl: No such file or directory"):
        run.append({"n": 1})
    with pytest.raises(RunError, match=r"cannot write .*samples\.parquet: No such file or directory"):
        run.finish([], {})


def test_unreadable_results_are_one_line(run):
    with pytest.raises(RunError, match="not finished"):
        run.read_metrics()
    with pytest.raises(RunError, match=r"cannot read .*samples\.parquet"):
        run.read_rows()
    write_bytes(run.path / "samples.parquet", b"not parquet")
    write_bytes(run.path / "metrics.json", b'{"no_such_metric": 1}')
    for read, reason in (
        (run.read_rows, r"samples\.parquet"),
        (run.read_metrics, r"metrics\.json.*no_such_metric"),
    ):
        with pytest.raises(RunError, match=reason) as error:
            read()
        one_line(error)
    for content in (b"{", b"[" * 100_000):
        write_bytes(run.path / "metrics.json", content)
        with pytest.raises(RunError, match=r"metrics\.json: not JSON"):
            run.read_metrics()


def test_the_lock_is_let_go_and_cleans_what_a_killed_process_left(run):
    leftover = run.path / ".metrics.json.12345.partial"
    leftover.write_text("{")
    for _ in range(2):
        with run.lock():
            assert not leftover.exists()
    with pytest.raises(ZeroDivisionError), run.lock():
        _ = 1 / 0
    with run.lock():
        pass


def test_an_unusable_lock_is_one_line(run, monkeypatch):
    def unsupported(*arguments, **options):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("runners.files.FileLock.acquire", unsupported)
    with pytest.raises(RunError, match="has no locks; choose another results_dir") as error, run.lock():
        pass
    one_line(error)
