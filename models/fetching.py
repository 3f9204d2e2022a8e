"""Models brought to where a machine without a network finds them."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from models.errors import ModelError, first_line
from models.gguf import converted
from models.loading import ModelConfig, locate

# What loading reads. Some repositories carry the same weights again under "consolidated".
_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
_TWICE = ("consolidated*", "original/*", "*/*")


def fetched(config: ModelConfig) -> Path:
    """The folder of a model on this machine, after a download or the conversion of a GGUF if need be.

    Nothing is loaded into memory but for a conversion.

    Raises
    ------
    ModelError
        In one line: what is missing or cannot be reached.
    """
    local = locate(config.path)
    if local is not None:
        return converted(local) if local.is_file() else local
    files = [*_FILES, "*.py"] if config.trust_remote_code else list(_FILES)
    try:
        folder = snapshot_download(
            config.path, revision=config.revision, allow_patterns=files, ignore_patterns=list(_TWICE)
        )
    # ValueError: what cannot be the name of a repository.
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise ModelError(f"model {config.path} cannot be fetched: {first_line(error)}") from error
    return Path(folder)
