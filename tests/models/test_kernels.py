"""The kernels compute what torch computes, the same for a vector in whatever company, or there are none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import kernels as room
from models.errors import ModelError
from models.kernels import DTYPES, WAYS, Kernels, kernels
from tiny import needs_kernels

# Shorter and longer than any vector register, no multiple of one, and those of a real model.
SHAPES = [(1, 1), (3, 7), (37, 83), (64, 33), (130, 64), (96, 576)]


def drawn(shape, dtype, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@needs_kernels
@pytest.mark.parametrize("way", range(len(WAYS)), ids=WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_rounds_no_more_than_its_length_allows(shape, dtype, way):
    matrix, bias = drawn(shape, dtype), drawn(shape[0], dtype, 1)
    for count in (1, 2, 3, 4, 5, 8, 9):
        vectors = drawn((count, shape[1]), dtype, count)
        found = kernels().product(matrix, bias, vectors, way)
        wanted = vectors.double() @ matrix.double().t() + bias.double()
        # A sum of n products rounds at most n times, and the result once more to its dtype.
        size = vectors.double().abs() @ matrix.double().abs().t() + bias.double().abs()
        rounding = (shape[1] + 1) * 2**-24 + torch.finfo(dtype).eps / 2
        assert found.dtype == dtype
        assert ((found.double() - wanted).abs() <= rounding * size).all()


@needs_kernels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_vector_gives_the_same_in_any_company_and_by_any_way(shape, dtype):
    """Bit for bit: batches are their rows, and verified drafts are what plain decoding gives."""
    matrix, vectors = drawn(shape, dtype), drawn((11, shape[1]), dtype, 1)
    alone = torch.cat([kernels().product(matrix, None, vector[None], 0) for vector in vectors])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for way in range(len(WAYS)):
                for count in range(1, 12):
                    found = kernels().product(matrix, None, vectors[:count].contiguous(), way)
                    assert torch.equal(found, alone[:count]), (threads, WAYS[way], count)
    finally:
        torch.set_num_threads(before)


@needs_kernels
def test_what_is_no_number_stays_none():
    for dtype in DTYPES:
        for wrong in (float("nan"), float("inf")):
            matrix = torch.ones(5, 40, dtype=dtype)
            matrix[2, 39] = wrong
            found = kernels().product(matrix, None, torch.ones(1, 40, dtype=dtype), 2)[0]
            assert [bool(value.isfinite()) for value in found] == [True, True, False, True, True]


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache folder, and a process that has not looked for kernels yet."""
    monkeypatch.setenv("SKIPBENCH_CACHE", str(tmp_path / "cache"))
    kernels.cache_clear()
    yield tmp_path / "cache" / "kernels"
    kernels.cache_clear()


def refusal():
    found = kernels()
    assert isinstance(found, ModelError) and "\n" not in str(found)
    return str(found)


def test_without_a_compiler_there_are_none(fresh, monkeypatch):
    monkeypatch.setenv("PATH", str(fresh))
    monkeypatch.delenv("CXX", raising=False)
    assert "there is no C++ compiler" in refusal()
    assert not fresh.exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'kernels.cpp:1: error: no such language' >&2; exit 1", "no such language"),
        ("exit 3", "failed: no message"),
        # Says that all is well, and writes something else.
        ('while [ "$1" != -o ]; do shift; done; echo nonsense > "$2"', "cannot be loaded"),
    ],
)
def test_a_compiler_that_fails_is_one_line(fresh, tmp_path, monkeypatch, script, said):
    compiler = tmp_path / "g++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert said in refusal()


@needs_kernels
def test_a_library_that_another_user_has_put_there_is_not_loaded(fresh, monkeypatch):
    """The cache folder may be shared, and loading runs code."""
    kernels()
    (path,) = fresh.glob("*.so")
    # Under the same name: the file itself is mapped.
    path.unlink()
    path.write_bytes(b"planted")
    stat = Path.stat

    def foreign(self, **more):
        found = stat(self, **more)
        return os.stat_result((*found[:4], 4711, *found[5:10])) if self == path else found

    monkeypatch.setattr(Path, "stat", foreign)
    monkeypatch.setattr(room, "_check", lambda library: None)
    kernels.cache_clear()
    assert isinstance(kernels(), Kernels) and path.read_bytes() != b"planted"


@needs_kernels
def test_kernels_that_compute_wrongly_are_not_used(fresh, monkeypatch):
    monkeypatch.setattr(room, "_FLAGS", [flag.replace("-O3", "-O0") for flag in room._FLAGS])
    right = Kernels.product
    monkeypatch.setattr(Kernels, "product", lambda *arguments: right(*arguments) * 1.01)
    assert "compute wrongly" in refusal()


@needs_kernels
def test_they_are_built_once_and_a_damaged_file_is_built_again(fresh, monkeypatch):
    builds = []
    build = room._compile
    # Unoptimised, which takes a tenth of the time.
    monkeypatch.setattr(room, "_FLAGS", [flag.replace("-O3", "-O0") for flag in room._FLAGS])
    monkeypatch.setattr(room, "_compile", lambda *arguments: builds.append(arguments) or build(*arguments))
    path, new = room._built()
    assert new
    path.write_bytes(b"damaged")
    for _ in range(2):
        kernels.cache_clear()
        assert isinstance(kernels(), Kernels) and len(builds) == 2
    assert not [file for file in fresh.iterdir() if file.suffix not in (".so", ".lock")], "nothing half made"


@needs_kernels
@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="asks Linux what is loaded")
def test_torch_and_the_kernels_share_one_pool_of_threads():
    """Two OpenMP runtimes would wait for each other's processors; scikit-learn brings one of its own."""
    script = (
        "import sklearn.utils._openmp_helpers\n"
        "maps = lambda: {part for part in open('/proc/self/maps').read().split()\n"
        "    if any(name in part for name in ('/libgomp', '/libomp', '/libiomp'))}\n"
        "others = maps()\n"
        "import torch\n"
        "from models.kernels import _openmp, kernels; kernels()\n"
        "print(len(maps() - others), _openmp() in others)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


@needs_kernels
def test_a_clang_that_cannot_link_torchs_runtime_is_one_line(fresh, tmp_path, monkeypatch):
    compiler = tmp_path / "clang++"
    compiler.write_text("#!/bin/sh\necho clang version 19\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(room, "_openmp", lambda: "/lib/libgomp.so.1")
    assert "install g++" in refusal()
    assert not fresh.exists()


@needs_kernels
def test_memory_that_runs_out_is_pythons_error():
    """As the halving of batches knows it, and not the end of the process."""
    with pytest.raises(MemoryError):
        kernels()._product(4, None, None, None, None, 2**20, 2**50, 2**4, 0, 1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_there_are_kernels_where_there_is_a_compiler():
    """Or every other test of them would pass by being skipped."""
    assert isinstance(kernels(), Kernels)
