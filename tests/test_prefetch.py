"""What a node with a network fetches, so that the others need none."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from models import fetching
from models.errors import ModelError
from models.fetching import fetched
from models.loading import ModelConfig
from tiny_files import write_gguf

ROOT = Path(__file__).resolve().parents[1]


# The script as it is, and a word for each conversion.
COUNTED = """
import runpy, sys
from models import gguf
convert = gguf._convert
def counted(file, folder):
    print("converting", file=sys.stderr)
    convert(file, folder)
gguf._convert = counted
runpy.run_path("scripts/prefetch.py", run_name="__main__")
"""


def start(*arguments, program=("scripts/prefetch.py",), **environment):
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )


@pytest.mark.slow
def test_two_processes_convert_a_model_once(tmp_path):
    write_gguf(tmp_path / "tiny.gguf")
    arguments = ("model=hub", f"model.path={tmp_path}/tiny.gguf", "task=factoidqa")
    counted, cache = ("-c", COUNTED), str(tmp_path / "cache")
    both = [start(*arguments, program=counted, SKIPBENCH_CACHE=cache) for _ in range(2)]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0] and "528 examples" in told[0][0]
    (folder,) = (path for path in (tmp_path / "cache/models").iterdir() if path.is_dir())
    assert f"model tiny.gguf: {folder}\n" in told[0][0] and (folder / "model.safetensors").is_file()
    # Whoever came second waited, and wrote nothing.
    assert sum(err.count("converting\n") for _, err in told) == 1


def test_a_mistake_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["prefetch.py", "model=hub", "model.path=./nowhere"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "scripts/prefetch.py"), run_name="__main__")
    said = capsys.readouterr()
    assert (end.value.code, said.out, said.err) == (2, "", "error: model.path=./nowhere does not exist\n")


def test_only_what_is_loaded_is_downloaded(tmp_path, monkeypatch):
    asked = {}

    def download(name, **options):
        asked.update(name=name, **options)
        return str(tmp_path)

    monkeypatch.setattr(fetching, "snapshot_download", download)
    assert fetched(ModelConfig("m", "some/model", "abc")) == tmp_path
    assert (asked["name"], asked["revision"]) == ("some/model", "abc")
    assert "*.safetensors" in asked["allow_patterns"] and "*.py" not in asked["allow_patterns"]
    assert not [name for name in asked["allow_patterns"] if name.endswith((".bin", ".pt"))]


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def refuse(name, **options):
        raise OSError("no route\nsecond line")

    monkeypatch.setattr(fetching, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=r"model some/model cannot be fetched: no route$"):
        fetched(ModelConfig("m", "some/model"))
