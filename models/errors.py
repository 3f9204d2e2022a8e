"""The one exception of this room, and what libraries raise where it is meant."""

from collections.abc import Iterator
from contextlib import contextmanager


class ModelError(ValueError):
    """A model that cannot be found, read or opened, said in one line that a user can act on."""


def first_line(error: Exception) -> str:
    """What an error of somebody else's says first; its kind, if it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A heading says nothing yet.
    said = next((count for count, line in enumerate(lines, 1) if not line.endswith(":")), len(lines))
    return " ".join(lines[:said]) or type(error).__name__


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what transformers and its readers raise on files that are not what they expect into a
    `ModelError`: "<what>: <the reason>".

    Only around their calls: our own mistakes keep their tracebacks.
    """
    from huggingface_hub.errors import StrictDataclassError
    from jinja2 import TemplateError
    from safetensors import SafetensorError

    try:
        yield
    except ModelError:
        raise
    # ImportError: a tokenizer of a kind that is not installed. RuntimeError: shapes that disagree with the
    # config, nesting without end, or a model that does not fit the device. AssertionError: torch's, of sizes.
    except (
        *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError),
        *(ImportError, RuntimeError, MemoryError, AssertionError),
        *(SafetensorError, StrictDataclassError, TemplateError),
    ) as error:
        raise ModelError(f"{what}: {first_line(error)}") from error
