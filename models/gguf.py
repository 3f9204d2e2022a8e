"""GGUF files, converted once to safetensors: reading one takes seconds, its converted copy a fraction of
that."""

import hashlib
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from models.cache_folder import cache_root
from models.compat import complete_model, gguf_arguments
from models.description import described
from models.errors import ModelError, readable
from models.gguf_header import check_header
from models.gguf_metadata import Metadata, check_kind, completed
from models.gguf_rotary import ROTARY_TENSORS
from models.gguf_tokens import adjust_tokenizer, check_tokenizer, check_tokens, end_tokens, set_special

# Part of the cache key: raised when a conversion writes something else than before.
_FORMAT = 4


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content; read once a process, as long as the file stays as it is."""
    facts = path.stat()
    return _sha256(path, facts.st_size, facts.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def converted(file: Path) -> Path:
    """Folder of the safetensors copy of a GGUF file, made now if there is none.

    The copy is keyed by the file's content and appears in one rename, so that a killed or a second process
    never leaves half a model behind.

    Raises
    ------
    ModelError
        The file is not a readable GGUF, or the cache folder cannot be written.
    """
    try:
        with file.open("rb") as opened:
            magic, version = opened.read(4), opened.read(4)
        if magic != b"GGUF" or len(version) < 4 or not 2 <= struct.unpack("<I", version)[0] <= 3:
            raise ModelError(
                f"{file} is not a GGUF file (version 2 or 3); give a complete .gguf file or a folder"
            )
        folder = cache_root() / "models" / f"{file.stem}-{file_sha256(file)[:16]}-v{_FORMAT}"
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock", fallback_to_soft=False):
            if not folder.is_dir():
                _convert(file, folder)
        return folder
    except OSError as error:
        said = str(error.strerror or error).splitlines()[0]
        where = f" ({error.filename})" if error.filename else ""
        raise ModelError(f"cannot convert {file}: {said}{where}") from error


def _convert(file: Path, folder: Path) -> None:
    metadata = Metadata(_reader(file), file)
    check_kind(metadata)
    check_tokens(metadata)
    from transformers import AutoTokenizer

    prefix = f".{folder.name}-"
    # The lock is ours, so whatever carries this prefix was left by a process that was killed.
    for stale in [path for path in folder.parent.iterdir() if path.name.startswith(prefix)]:
        shutil.rmtree(stale)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as work:
        # Alone in a folder: transformers would also read what lies beside it.
        alone = Path(work) / "gguf"
        alone.mkdir()
        (alone / file.name).symlink_to(file.absolute())
        # Into a folder of its own: save_pretrained's files are renamed together.
        target = Path(work) / folder.name
        # Before gigabytes are converted for nothing.
        config = completed(described(str(alone), str(file), gguf_file=file.name).config, metadata)
        set_special(config, metadata)
        with readable(f"{file} cannot be converted"):
            _check_tensors(metadata, config)
            arguments = {"config": config, "dtype": torch.float32, **gguf_arguments(file)}
            model = complete_model(alone, called=f"model {file}", **arguments)
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file=file.name)
            tokenizer = adjust_tokenizer(tokenizer, metadata)
            model.generation_config.eos_token_id = end_tokens(metadata) or None
            model.save_pretrained(target)
            tokenizer.save_pretrained(target)
            check_tokenizer(AutoTokenizer.from_pretrained(target), tokenizer, file)
        shutil.move(target, folder)


def _check_tensors(metadata: Metadata, config: Any) -> None:
    """Refuse a file with tensors that a model of this config has not: the converter of transformers passes
    over them without a word."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        paths = AutoModelForCausalLM.from_config(config).state_dict()
    known = {name: number for number, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(known[metadata.architecture], config.num_hidden_layers)
    stems = [path.rpartition(".") for path in paths]
    read = {f"{names.get_name(stem)}.{ending}" for stem, _, ending in stems}
    if unread := metadata.tensor_names() - read - {*ROTARY_TENSORS}:
        raise ModelError(
            f"{metadata.file} has {len(unread)} tensors that a {config.model_type} model has not, the first "
            f"is {min(unread)}; give the original model, as a folder or a hub id"
        )


def _reader(file: Path) -> Any:
    """The reader of a file, unless that ends before its tensors do, which the converter would report as a bug
    of its own."""
    from gguf import GGUFReader

    check_header(file)
    size = file.stat().st_size
    try:
        reader = GGUFReader(file)
        end = max(tensor.data_offset + tensor.n_bytes for tensor in reader.tensors)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ModelError(
            f"{file} is truncated or damaged ({size:,} bytes): {error}".splitlines()[0]
        ) from error
    if end > size:
        raise ModelError(f"{file} is truncated: it has {size:,} bytes of {int(end):,}; fetch it again")
    return reader
