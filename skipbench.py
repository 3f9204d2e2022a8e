"""The benchmark from Python: open a model, decode with a method, run what `run.py` runs.

>>> import skipbench
>>> model = skipbench.load("smollm2-135m")
>>> answer = skipbench.generate(model, "Who wrote Emma?", method="ffnskip", threshold=0.982)
>>> answer.text, answer.tokens, answer.realised_skip, answer.decode_s
>>> metrics = skipbench.run(method="ffnskip", task="factoidqa", limit=24)

Nothing heavy is imported before the first call. What a caller can mend is raised in one line: `ModelError`,
`MethodError`, `RunError` or `DataError`, all of them `ValueError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.loading import LoadedModel
    from runners.prompts import Prompt, PromptEncoder

__all__ = ["Answer", "generate", "load", "run"]

_CONF = Path(__file__).resolve().parent / "conf"
Message = dict[str, str]
Heard = Callable[[int, str], None]


@dataclass(frozen=True)
class Answer:
    """What a method said, and what it took: counted, not claimed.

    Attributes
    ----------
    text : str
        Without thoughts (`<think>…</think>`) and end tokens.
    tokens : list of int
        All generated ids.
    finish : str
        eos or length.
    thoughts : str or None
        What a reasoning model wrote before its answer.
    prompt_tokens : int
    prefill_s, decode_s : float
        Seconds; in a batch, the row's share.
    realised_skip : float or None
        Share of sub-layer runs in decoding that did not happen, weighted by parameters; None: no decode step,
        or a method with an engine of its own.
    work : dict
        Counted columns of the result tables, such as `ffn_run`, `drafted`, `method_bytes`.
    """

    text: str
    tokens: list[int]
    finish: str
    thoughts: str | None
    prompt_tokens: int
    prefill_s: float
    decode_s: float
    realised_skip: float | None
    work: dict[str, Any]


def load(
    model: Any, tokenizer: Any = None, *, device: str = "auto", dtype: str | None = None, **engine: Any
) -> LoadedModel:
    """Open a model.

    Parameters
    ----------
    model : str or transformers model
        A name of `conf/model/`, a hub id, a folder, a .gguf file, or a causal LM that is in memory, which is
        used as it is and where it is.
    tokenizer : transformers tokenizer or None
        Of a model in memory; None: that of its `name_or_path`.
    device, dtype
        As the keys of `run.py`; not for a model in memory.
    **engine
        `layer`, `product`, `compile`, `device_map`; see `models.loading.EngineConfig`. Of a model in memory
        `layer` alone.

    Raises
    ------
    ModelError
    """
    from models.errors import ModelError
    from models.loading import EngineConfig, ModelConfig, load_model

    if not isinstance(model, str | os.PathLike):
        if device != "auto" or dtype is not None or set(engine) - {"layer"}:
            raise ModelError("a model in memory has its device, dtype and products; leave these out")
        return _opened(model, tokenizer, engine.get("layer", "auto"))
    if tokenizer is not None:
        raise ModelError("a tokenizer goes with a model in memory; a path has its own")
    return load_model(
        ModelConfig(**_named(os.fspath(model))), dtype=dtype, device=device, engine=EngineConfig(**engine)
    )


def _named(model: str) -> dict[str, Any]:
    """The configuration of a prepared model, or that of a path."""
    from models.places import last_part
    from runners.prepared_models import prepared_models

    return prepared_models().get(model) or {"name": last_part(model), "path": model}


def _opened(model: Any, tokenizer: Any, layer: str) -> LoadedModel:
    from transformers import AutoTokenizer

    from models.errors import readable
    from models.loading import LoadedModel, end_tokens
    from models.stack import Stack

    if tokenizer is None:
        with readable("the model's tokenizer cannot be found; give it as the second argument"):
            tokenizer = AutoTokenizer.from_pretrained(model.name_or_path)
    stack = Stack(model.eval(), layer, keep_layout=True)
    return LoadedModel(stack, tokenizer, end_tokens(model, tokenizer), revision=None)


def generate(
    model: LoadedModel,
    prompt: str | Sequence[Any],
    *,
    method: str = "full",
    max_new_tokens: int = 128,
    ignore_eos: bool = False,
    seed: int = 0,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    max_prompt_tokens: int | None = None,
    on_overflow: str = "error",
    chat_template_kwargs: dict[str, Any] | None = None,
    heard: Heard | None = None,
    **params: Any,
) -> Any:
    """Decode one prompt, or a batch of them, with a method.

    Parameters
    ----------
    model : LoadedModel
        Of `load`.
    prompt
        A text, which the chat template frames if there is one; chat messages (a list of role and content);
        token ids (a list of int), used as they are; or a list of such, which is decoded as one batch.
    method, **params
        A method and its parameters, such as `threshold=0.982`. Nothing is solved or calibrated here.
    max_new_tokens, ignore_eos, seed, temperature, top_k, top_p
    max_prompt_tokens, on_overflow, chat_template_kwargs
        As the keys of `run.py`; `ignore_eos` is `runner.fixed_length`.
    heard : callable (row, text) or None
        Called with each new piece of text, thoughts included, as it arrives; off the clock.

    Returns
    -------
    Answer, or list of Answer for a batch

    Raises
    ------
    ModelError, MethodError, RunError
        In one line; also of a prompt that leaves no room for an answer.
    """
    from models.chat import ChatTemplate
    from models.sampling import Sampler
    from runners.decoding import Decoding
    from runners.prompts import PromptEncoder
    from runners.settings import Settings

    one = _is_one(prompt)
    settings = Settings(max_prompt_tokens=max_prompt_tokens, on_overflow=on_overflow)
    template = ChatTemplate(model.tokenizer, chat_template_kwargs)
    encoder = PromptEncoder(model, template, settings, max_new_tokens)
    prompts = [_encoded(model, encoder, each, row) for row, each in enumerate([prompt] if one else prompt)]
    chosen = _bound(method, params, model, len(prompts))
    decoding = Decoding(
        model=model,
        sampler=Sampler(temperature, top_k, top_p),
        seed=seed,
        max_new_tokens=max_new_tokens,
        fixed_length=ignore_eos,
    )
    keys = [("prompt", row) for row in range(len(prompts))]
    arrived = None if heard is None else _Pieces(decoding, heard)
    answered = decoding.run(chosen, prompts, keys, arrived=arrived)
    if arrived is not None:
        arrived(chosen.batch)
    found = [_answer(each, len(asked.ids)) for each, asked in zip(answered, prompts, strict=True)]
    return found[0] if one else found


def _is_one(prompt: Any) -> bool:
    """Whether a prompt is one, and no batch."""
    return isinstance(prompt, str) or not len(prompt) or isinstance(prompt[0], int | dict)


def _encoded(model: LoadedModel, encoder: PromptEncoder, prompt: Any, row: int) -> Prompt:
    from models.errors import ModelError
    from runners.prompts import Prompt

    if not len(prompt):
        raise ModelError("a prompt is empty; give a text, messages or token ids")
    chats = bool(model.tokenizer.chat_template)
    if isinstance(prompt, str):
        return encoder.encode([{"role": "user", "content": prompt}] if chats else prompt, str(row))
    if all(isinstance(token, int) for token in prompt):
        ids = [int(token) for token in prompt]
        if not 0 <= min(ids) <= max(ids) < model.stack.vocabulary:
            raise ModelError(
                f"a prompt has tokens that the model has not (0 to {model.stack.vocabulary - 1})"
            )
        return encoder.fit(Prompt(model.tokenizer.decode(ids), ids, False), str(row))
    if not chats:
        raise ModelError("the model has no chat template for messages; give a text or token ids")
    return encoder.encode(list(prompt), str(row))


def _bound(name: str, params: dict[str, Any], model: LoadedModel, rows: int) -> Any:
    from methods.shared.errors import MethodError
    from methods.shared.registry import method_class
    from runners.configure import build

    cls = method_class(name)
    method = cls(build(cls.Params, _untargeted(cls.Params, params), ""))
    if method.max_batch is not None and rows > method.max_batch:
        raise MethodError(f"method={name} decodes at most {method.max_batch} prompts at a time, not {rows}")
    method.bind(model.stack)
    return method


def _untargeted(cls: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters without the usual target beside a value of what it would be solved for."""
    solved = getattr(cls, "SOLVED", None)
    given = solved is not None and params.get(solved) is not None
    return {**params, "target_skip": None} if given and "target_skip" not in params else params


class _Pieces:
    """Hands on the text of a batch piece by piece."""

    def __init__(self, decoding: Any, heard: Heard):
        self._decoding, self._heard = decoding, heard
        self._said: dict[int, str] = {}

    def __call__(self, batch: Any) -> None:
        for row, ids in enumerate(batch.outputs):
            text, said = self._decoding.text(ids), self._said.get(row, "")
            # Half a character is nothing to be shown.
            if len(text) > len(said) and text.startswith(said) and not text.endswith("\ufffd"):
                self._said[row] = text
                self._heard(row, text[len(said) :])


def _answer(answered: Any, prompt_tokens: int) -> Answer:
    from runners.speed_metrics import BY_PARAMETERS, left_out

    return Answer(
        text=answered.text,
        tokens=answered.ids,
        finish=answered.finish,
        thoughts=answered.thoughts and answered.thoughts.text,
        prompt_tokens=prompt_tokens,
        prefill_s=answered.prefill_s,
        decode_s=answered.decode_s,
        realised_skip=left_out([answered.work], *BY_PARAMETERS) if answered.work else None,
        work=answered.work,
    )


def run(*overrides: str, **keys: Any) -> dict[str, Any]:
    """Run what `python run.py` runs, and return its record (`metrics.json`).

    Parameters
    ----------
    *overrides : str
        As on the command line: `"method.threshold=0.98"`, `"task.source=file"`.
    **keys
        Groups and shared keys: `method="ffnskip"`, `limit=24`. W&B is off unless `logger` is given.

    Raises
    ------
    RunError, ModelError, MethodError, DataError
        In one line, as on the command line.
    """
    from runners.configure import composed, job_from
    from runners.errors import RunError
    from runners.execute import execute
    from runners.typed import as_typed
    from runners.user_errors import USER_ERRORS, not_composed, one_line

    given = {"logger": "none", **keys}
    words = [f"{key}={'null' if value is None else value}" for key, value in given.items()]
    try:
        config = composed(_CONF, as_typed([*words, *overrides]))
    except (*USER_ERRORS, OSError, ValueError, RuntimeError) as error:
        raise RunError(one_line(not_composed(error), _CONF)) from error
    return execute(job_from(config)).metrics
