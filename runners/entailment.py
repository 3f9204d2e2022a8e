"""A model that says whether one text follows from another, for tasks that score with one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from models.compat import complete_model
from models.description import check_counts
from models.errors import ModelError, readable
from models.loading import locate, resolve_device
from runners.errors import RunError
from runners.notices import say
from tasks.base import Task
from tasks.scoring.entailment import Entailment

_LABEL = "entailment"
_BATCH = 32
# Tokens of a pair; two sentences and one are shorter, and most such models know no more.
_LONGEST = 512


def check_entailment(task: Task) -> None:
    """Refuse a model of entailment that is not one, by its configuration alone.

    Raises
    ------
    RunError
        It cannot be found or read, or has no label `entailment`.
    """
    if task.entailment_model is not None:
        _config(task.entailment_model)


def give_entailment(task: Task) -> bool:
    """Load the model that a task scores with and give it to the task; return whether there is one.

    It is loaded after all answers are there: it must not share memory or the clock with what is measured.

    Raises
    ------
    RunError
        It cannot be loaded, or has no label `entailment`.
    """
    if task.entailment_model is None:
        return False
    say(f"Scoring with {task.entailment_model}")
    task.entails = entailment(task.entailment_model)
    return True


def entailment(path: str, device: str = "auto") -> Entailment:
    """Return the function that asks a sequence-classification model of transformers.

    Parameters
    ----------
    path
        A hub id or a local folder; safetensors only, and no code that comes with it is run.
    device
        As `models.loading.resolve_device` knows it.

    Raises
    ------
    RunError
        It cannot be loaded, or has no label `entailment`.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    config, label = _config(path)
    target = resolve_device(device)
    with _loading(path):
        tokenizer = AutoTokenizer.from_pretrained(_source(path), trust_remote_code=False)
        model = complete_model(
            _source(path),
            called=f"task.nli={path}",
            kind=AutoModelForSequenceClassification,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
        )
    if tokenizer.pad_token is None:
        raise RunError(f"task.nli={path} has no padding token, which comparing texts in batches needs")
    model = model.eval().to(target)
    positions = getattr(config, "max_position_embeddings", None) or _LONGEST
    longest = min(_LONGEST, tokenizer.model_max_length, positions)

    def entails(pairs: Sequence[tuple[str, str]]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(pairs), _BATCH):
            premises, hypotheses = zip(*pairs[start : start + _BATCH], strict=True)
            inputs = tokenizer(
                list(premises),
                list(hypotheses),
                truncation="longest_first",
                max_length=longest,
                padding=True,
                return_tensors="pt",
            ).to(target)
            with torch.inference_mode():
                logits = model(**inputs).logits.float()
            found += logits.softmax(-1)[:, label].tolist()
        return found

    return entails


def _config(path: str) -> tuple[Any, int]:
    """A model's configuration, and the number of its label for entailment."""
    from transformers import AutoConfig

    with _loading(path):
        check_counts(_source(path), path)
        config = AutoConfig.from_pretrained(_source(path), trust_remote_code=False)
    # Models disagree about the order of their labels, and say what it is.
    labels = {str(name).lower(): int(number) for number, name in config.id2label.items()}
    if _LABEL not in labels:
        raise RunError(
            f"task.nli={path} has no label {_LABEL!r} (it has: {', '.join(labels)}); choose a model of "
            "natural language inference whose config.json names its labels"
        )
    return config, labels[_LABEL]


@contextmanager
def _loading(path: str) -> Iterator[None]:
    """Say of the task's option what transformers says of its files."""
    try:
        with readable(f"task.nli={path} cannot be loaded"):
            yield
    except ModelError as error:
        raise RunError(str(error)) from error


def _source(path: str) -> str:
    try:
        local = locate(path)
    except ModelError:
        local = Path(path)
    if local is not None and not local.is_dir():
        raise RunError(f"task.nli={path} is not there, or no folder; give a hub id or a model folder")
    return path if local is None else str(local)
