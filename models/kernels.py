"""The kernels of `kernels.cpp`: built once per machine by its C++ compiler, loaded, and called."""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from models.cache_folder import cache_root, machine
from models.errors import ModelError, first_line

DTYPES = (torch.float32, torch.bfloat16)
# How a product may read its matrix, by the numbers that `kernels.cpp` gives them.
WAYS = ("one row", "two rows, near", "four rows, near", "four rows, far", "four rows")
_SOURCE = Path(__file__).with_name("kernels.cpp")
# No -ffast-math: it changes how the whole process treats small numbers.
_FLAGS = ["-std=c++17", "-O3", "-fPIC", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
_BUILD_S = 300
_USER = getattr(os, "getuid", int)()

_Pointer, _Int, _Long = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64


class LayerParts(ctypes.Structure):
    """`Layer` of `kernels.cpp`: sizes and weights of one decoder layer."""

    _fields_ = (
        [(name, _Long) for name in ("width", "ffn_width", "heads", "kv_heads", "head_width")]
        + [(name, ctypes.c_float) for name in ("scale", "epsilon")]
        + [
            (name, _Pointer)
            for name in (
                *("attention_norm", "qkv", "qkv_bias", "query_norm", "key_norm", "out", "out_bias"),
                *("ffn_norm", "gate_up", "gate_up_bias", "down", "down_bias"),
            )
        ]
        + [("ways", ctypes.c_int32 * 4 * 4)]
    )


class PassParts(ctypes.Structure):
    """`Pass` of `kernels.cpp`: where a pass stands, the same for all layers that see the same."""

    _fields_ = (
        [(name, _Long) for name in ("rows", "tokens", "length")]
        + [(name, _Pointer) for name in ("cos", "sin", "mask", "slots", "cache_rows")]
        + [(name, _Long) for name in ("row_stride", "head_stride")]
    )


class Kernels:
    """The loaded library. Tensors are contiguous, on the host, and of one dtype of `DTYPES`.

    Parameters
    ----------
    path : Path
        The shared library.

    Attributes
    ----------
    name : str
        What it was built from and for.
    """

    def __init__(self, path: Path):
        library = ctypes.CDLL(str(path))
        self.name = path.stem

        def function(name: str, *arguments: type) -> Callable[..., None]:
            found = getattr(library, name)
            found.argtypes, found.restype, found.errcheck = list(arguments), _Int, _checked
            return found

        self._product = function("skip_product", _Int, *[_Pointer] * 4, *[_Long] * 3, _Int, _Int)
        self._cosines = function("skip_cosines", _Int, *[_Pointer] * 3, _Long, _Long)
        self.attention = function("skip_attention", _Int, *[_Pointer] * 6, _Int)
        self.write_kv = function("skip_write_kv", _Int, *[_Pointer] * 5, _Int)
        self.ffn = function("skip_ffn", _Int, *[_Pointer] * 5, _Long, _Int)

    def product(self, matrix: Tensor, bias: Tensor | None, vectors: Tensor, way: int) -> Tensor:
        """Vectors [n, inputs] times a matrix [outputs, inputs], plus a bias [outputs]: [n, outputs].

        Parameters
        ----------
        way : int
            How the matrix is read: an index of `WAYS`.
        """
        count, inputs = vectors.shape
        found = vectors.new_empty(count, len(matrix))
        self._product(
            *(matrix.itemsize, matrix.data_ptr(), pointer(bias), vectors.data_ptr(), found.data_ptr()),
            *(len(matrix), inputs, count, way, torch.get_num_threads()),
        )
        return found

    def cosines(self, states: Tensor, others: Tensor) -> Tensor:
        """Cosines [...] in float32 of states [..., width], within [-1, 1]."""
        found = torch.empty(states.shape[:-1], dtype=torch.float32, device="cpu")
        width, states, others = states.shape[-1], states.contiguous(), others.contiguous()
        self._cosines(
            *(states.itemsize, states.data_ptr(), others.data_ptr(), found.data_ptr()),
            *(width, found.numel()),
        )
        return found


def _checked(status: int, function: Any, arguments: tuple[Any, ...]) -> None:
    if status:
        raise MemoryError("the kernels have no memory left")


def pointer(tensor: Tensor | None) -> int | None:
    """The address of a tensor's memory."""
    return None if tensor is None else tensor.data_ptr()


@cache
def kernels() -> Kernels | ModelError:
    """The library of this machine, or why there is none."""
    try:
        path, new = _built()
        try:
            library = Kernels(path)
        except (OSError, AttributeError):
            if new:
                raise
            # A damaged file of the cache folder is made anew.
            path.unlink(missing_ok=True)
            library = Kernels(_built()[0])
        _check(library)
    except (OSError, AttributeError) as error:
        return ModelError(f"the kernels cannot be loaded ({first_line(error)})")
    except ModelError as error:
        return error
    return library


def _built() -> tuple[Path, bool]:
    """The shared library in the cache folder, compiled if it is not there; whether it was."""
    compiler, runtime, target = _compiler(), _openmp(), _target()
    source = _SOURCE.read_text(encoding="utf-8")
    facts = f"{machine()} {_USER} {_version(compiler, runtime)} {runtime} {target} {_FLAGS} {source}"
    name = f"kernels-{hashlib.sha256(facts.encode()).hexdigest()[:16]}.so"
    path = cache_root() / "kernels" / name
    if _trusted(path):
        return path, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", fallback_to_soft=False):
            if not _trusted(path):
                _compile(compiler, runtime, target, path)
    except OSError as error:
        raise ModelError(f"{path.parent} cannot be written: {error.strerror or error}") from error
    return path, True


def _trusted(path: Path) -> bool:
    """Whether a library is there and was made by this user, or root: a cache folder may be shared."""
    try:
        return path.stat().st_uid in (0, _USER)
    except OSError:
        return False


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and (found := shutil.which(name)):
            return found
    raise ModelError("there is no C++ compiler (g++ or clang++)")


def _version(compiler: str, runtime: str) -> str:
    """What a compiler says that it is; one that cannot link torch's OpenMP runtime is refused."""
    try:
        asked = [compiler, "--version"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise ModelError(f"{compiler} cannot be run: {first_line(error)}") from error
    if "clang" in said.stdout and "gomp" in Path(runtime).name:
        raise ModelError(f"{compiler} is a clang, which cannot link the libgomp of torch; install g++")
    return f"{compiler} {said.stdout}"


def _openmp() -> str:
    """The file of the OpenMP runtime that torch has loaded.

    Two of them would keep two pools of threads, which wait for each other's processors.
    """
    if sys.platform == "darwin":
        return str(Path(torch.__file__).parent / "lib" / "libomp.dylib")
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        mapped = ""
    found = re.findall(r"\s(/.*/lib(?:gomp|iomp5|omp)[-.][^/]*)$", mapped, re.MULTILINE)
    if not found:
        raise ModelError("torch's OpenMP runtime cannot be found")
    # Other packages (scikit-learn) bring their own.
    torchs = Path(torch.__file__).parent
    near = [path for path in found if Path(path).parent in (torchs / "lib", torchs.parent / "torch.libs")]
    return str((near or found)[0])


def _target() -> str:
    """The processor that is compiled for: this one, or the one that $SKIPBENCH_MARCH names, for tests."""
    option = "-march" if platform.machine() in ("x86_64", "AMD64") else "-mcpu"
    return f"{option}={os.environ.get('SKIPBENCH_MARCH', 'native')}"


def _compile(compiler: str, runtime: str, target: str, path: Path) -> None:
    openmp = ["-Xpreprocessor", "-fopenmp"] if sys.platform == "darwin" else ["-fopenmp"]
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        compiled, linked = f"{work}/kernels.o", f"{work}/{path.name}"
        # In two steps: a compiler that links with -fopenmp brings a runtime of its own.
        for command in (
            [compiler, *_FLAGS, *openmp, target, "-c", str(_SOURCE), "-o", compiled],
            [compiler, "-shared", compiled, runtime, "-o", linked],
        ):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
            except subprocess.TimeoutExpired:
                raise ModelError(f"{compiler} did not end within {_BUILD_S} s") from None
            except OSError as error:
                raise ModelError(f"{compiler} cannot be run: {error.strerror or error}") from error
            if done.returncode:
                lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
                raise ModelError(f"{compiler} failed: {lines[0].strip()}")
        os.chmod(linked, 0o755)
        os.replace(linked, path)


def _check(library: Kernels) -> None:
    """Compare a product of every way and dtype with torch's: a wrong compiler must not give wrong answers."""
    drawn = torch.Generator().manual_seed(0)
    matrix, vectors = torch.randn(37, 83, generator=drawn), torch.randn(7, 83, generator=drawn)
    for dtype in DTYPES:
        for way in range(len(WAYS)):
            found = library.product(matrix.to(dtype), None, vectors.to(dtype), way).float()
            wanted = vectors.to(dtype).double() @ matrix.to(dtype).double().t()
            # One rounding to bfloat16, and 83 in float32.
            if (found - wanted).abs().max() > wanted.abs().max() * (
                2**-8 if dtype != torch.float32 else 2**-18
            ):
                raise ModelError(f"the kernels compiled here compute wrongly ({dtype}, {WAYS[way]})")
