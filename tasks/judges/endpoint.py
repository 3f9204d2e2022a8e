"""A judge behind an endpoint that speaks OpenAI's chat protocol, through the official client."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.base import Message
from tasks.errors import DataError
from tasks.judges.config import OPENAI, JudgeConfig

_MOST_BYTES = 2**24
# What no server should send fails in the client in many ways.
_NONSENSE = (ValueError, AttributeError, LookupError, TypeError, RecursionError)


@dataclass(frozen=True)
class Reply:
    """What a judge said, and what that took."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class JudgeUnreachableError(Exception):
    """A request failed for good; another may not."""


Complete = Callable[[list[Message]], Reply]


def endpoint(config: JudgeConfig) -> Complete:
    """Return the function that asks the endpoint.

    The client waits and tries again on time-outs, broken connections, 429 and 5xx, as long as
    `config.retries` allows. `config.timeout_s` bounds the wait for the next byte, and for the whole body of
    an answer.

    Raises
    ------
    DataError
        The client is not installed, or there is no key.
    """
    try:
        import openai
    except ImportError:
        raise DataError("judge=openai needs the client: pip install -e '.[judge]'") from None
    variable = config.key_env or ("OPENAI_API_KEY" if config.url == OPENAI else None)
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise DataError(f"judge=openai needs a key in the environment variable {variable}")
    client = openai.OpenAI(
        # A server of one's own wants none, and the client wants one.
        api_key=key or "none",
        base_url=config.url,
        timeout=config.timeout_s,
        max_retries=config.retries,
        http_client=openai.DefaultHttpxClient(event_hooks={"response": [_bounded(config.timeout_s)]}),
    )

    def complete(messages: list[Message]) -> Reply:
        try:
            answer = client.chat.completions.create(
                model=str(config.model),
                messages=messages,  # type: ignore[arg-type]
                temperature=config.temperature,
                max_tokens=config.max_tokens,
            )
            text = answer.choices[0].message.content or ""
            # The client believes what a server says of types.
            usage = [_count(answer.usage, side) for side in ("prompt_tokens", "completion_tokens")]
            if not isinstance(text, str):
                raise TypeError(f"the judge's answer is no text but {type(text).__name__}")
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            # Every other request would end the same way.
            raise DataError(f"the judge refuses: {_said(error, key)}") from None
        except (openai.OpenAIError, *_NONSENSE) as error:
            raise JudgeUnreachableError(_said(error, key)) from None
        if not text.strip():
            # Filtered, or all of its tokens went into thinking; another try may end otherwise.
            raise JudgeUnreachableError("the judge said nothing; judge.max_tokens may be too low")
        return Reply(text, *usage)

    return complete


def _bounded(seconds: float) -> Callable[[Any], None]:
    """An event hook of the client's httpx: a body that takes longer, or does not end, is given up.

    The client bounds single reads alone.
    """

    def hook(response: Any) -> None:
        received, unpacked, end = response.iter_raw, response.iter_bytes, time.monotonic() + seconds

        def iter_raw(*args: Any, **kwargs: Any) -> Iterator[bytes]:
            for part in received(*args, **kwargs):
                if time.monotonic() > end:
                    raise JudgeUnreachableError(f"its answer was not whole after {seconds:g} s")
                yield part

        def iter_bytes(*args: Any, **kwargs: Any) -> Iterator[bytes]:
            size = 0
            for part in unpacked(*args, **kwargs):
                size += len(part)
                if size > _MOST_BYTES:
                    raise JudgeUnreachableError(f"its answer has more than {_MOST_BYTES} bytes")
                yield part

        response.iter_raw, response.iter_bytes = iter_raw, iter_bytes

    return hook


def _count(usage: object, side: str) -> int | None:
    """Tokens that were counted; None if that is no number."""
    count = getattr(usage, side, None)
    return count if type(count) is int and count >= 0 else None


def _said(error: Exception, key: str) -> str:
    """An error in one line, without the key, which a server may have sent back."""
    # The client repeats `error.message` alone; many servers say why in `detail`, or in `error` itself.
    body = getattr(error, "body", None)
    detail = body.get("detail") if isinstance(body, Mapping) else body
    # What kept it from being heard it hides in the cause.
    cause = error.__cause__ if type(error).__name__ == "APIConnectionError" else None
    said = detail if isinstance(detail, str) else cause
    why = f" - {said}" if said else ""
    line = " ".join(f"{error}{why}".split()) or type(error).__name__
    return (line.replace(key, "***") if key else line)[:200]
