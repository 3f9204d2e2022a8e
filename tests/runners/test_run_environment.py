"""What is recorded of the machine and of this code's revision."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runners import environment as module
from runners.environment import LIBRARIES, code_revision, environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh():
    module._git_state.cache_clear()
    yield
    module._git_state.cache_clear()


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository that tracks a copy of the module, as if it were this one."""
    (tmp_path / "runners").mkdir()
    copy = tmp_path / "runners" / "environment.py"
    shutil.copy(module.__file__, copy)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    monkeypatch.setattr(module, "__file__", str(copy))
    return tmp_path


def test_revision_is_the_commit_and_whether_files_differ_from_it(repository):
    assert code_revision() is None  # nothing committed yet
    git(repository, "commit", "-qm", "first")
    module._git_state.cache_clear()
    commit = git(repository, "rev-parse", "HEAD")
    assert code_revision() == commit[:7]
    (repository / "new.py").touch()
    module._git_state.cache_clear()
    assert code_revision() == f"{commit[:7]}+dirty"
    found = environment()
    assert (found["git_commit"], found["git_dirty"], found["code_revision"]) == (
        commit,
        True,
        code_revision(),
    )


def test_ignored_results_do_not_make_the_tree_dirty(repository):
    (repository / ".gitignore").write_text("results/\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "first")
    (repository / "results").mkdir()
    (repository / "results" / "x").touch()
    assert re.fullmatch("[0-9a-f]{7}", code_revision())


def test_a_repository_around_the_code_that_does_not_track_it_is_not_its_revision(repository):
    git(repository, "commit", "-qm", "first")
    git(repository, "rm", "-q", "--cached", "runners/environment.py")
    git(repository, "commit", "-qm", "second", "--allow-empty")
    assert code_revision() is None


def test_variables_of_a_git_hook_do_not_mislead(repository, monkeypatch):
    git(repository, "commit", "-qm", "first")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert code_revision() is not None


def test_without_git_there_is_no_revision(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = environment()
    assert found["code_revision"] is None and found["git_commit"] is None and found["git_dirty"] is None


def test_the_record_is_json_and_says_what_runs_depend_on():
    found = environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(found["versions"]) == set(LIBRARIES)
    assert re.fullmatch(r"\d+\.\d+.*", found["versions"]["pyarrow"])
    assert found["cores"] >= found["usable_cores"] >= 1 and found["memory_bytes"] > 2**28
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["utc"])
    assert found["cpu"]


def test_no_secret_of_the_command_line_or_the_environment_is_recorded(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(sys, "argv", ["run.py", "judge.key=sk-secret"])
    assert "sk-secret" not in json.dumps(environment())


def test_missing_libraries_are_null(monkeypatch):
    def missing(name):
        raise module.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.importlib.metadata, "version", missing)
    monkeypatch.setitem(sys.modules, "torch", None)
    found = environment()
    assert set(found["versions"].values()) == {None}
    assert (found["devices"], found["cuda"], found["threads"]) == (None, None, None)


def test_threads_and_devices_are_torchs():
    torch = pytest.importorskip("torch")
    found = environment()
    assert found["threads"] == torch.get_num_threads()
    assert len(found["devices"]) >= torch.cuda.device_count()
