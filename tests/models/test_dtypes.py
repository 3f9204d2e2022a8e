"""The number format that is asked for, and the measured one."""

import json

import pytest
import torch

from models import dtypes
from models.dtypes import bfloat16_time, resolve_dtype
from models.errors import ModelError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))
    bfloat16_time.cache_clear()
    yield tmp_path / "cache" / "dtype.json"
    bfloat16_time.cache_clear()


def test_names():
    assert resolve_dtype(None, CPU) == resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16
    for name in (None, "auto"):
        assert resolve_dtype(name, torch.device("cuda")) == torch.bfloat16
    with pytest.raises(ModelError, match="dtype=int8 is unknown; choose auto, float32"):
        resolve_dtype("int8", CPU)


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(0.5, torch.bfloat16), (0.8, torch.bfloat16), (0.9, torch.float32)]
)
def test_auto_takes_bfloat16_where_it_is_clearly_faster(monkeypatch, ratio, chosen):
    monkeypatch.setattr(dtypes, "_measured", lambda: ratio)
    assert resolve_dtype("auto", CPU) == chosen


def test_a_machine_is_measured_once(monkeypatch, empty_cache):
    answers = iter([0.5, 0.9])
    monkeypatch.setattr(dtypes, "_measured", lambda: next(answers))
    for _ in range(2):
        assert bfloat16_time(1) == 0.5
        # As another process would find it.
        bfloat16_time.cache_clear()
    assert bfloat16_time(2) == 0.9, "another number of threads is another machine"
    assert sorted(json.loads(empty_cache.read_text()).values()) == [0.5, 0.9]


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "null"])
def test_a_damaged_note_is_written_again(monkeypatch, empty_cache, content):
    empty_cache.parent.mkdir()
    empty_cache.write_text(content)
    monkeypatch.setattr(dtypes, "_measured", lambda: 0.7)
    assert bfloat16_time(1) == 0.7
    assert list(json.loads(empty_cache.read_text()).values()) == [0.7]


def test_the_ratio_is_that_of_the_two_formats(monkeypatch):
    """Against pretended times: float32 takes 4, bfloat16 takes 3."""

    def pretended(sides):
        for side in sides:
            side()
        return [4.0, 3.0]

    monkeypatch.setattr(dtypes, "seconds", pretended)
    monkeypatch.setattr(dtypes, "SIDE", 8)
    monkeypatch.setattr(dtypes, "sample_matrices", lambda dtype: [torch.ones(8, 8, dtype=dtype)])
    assert dtypes._measured() == 0.75
