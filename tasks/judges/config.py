"""Options of a judge."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tasks.errors import DataError

OPENAI = "https://api.openai.com/v1"
MOST_AT_ONCE = 256
_MOST_RETRIES = 1000
# A day.
_LONGEST_S = 86_400
MODES = ("single", "pairwise", "both")
# No key looks like that: those of the well-known services have small letters in them.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class JudgeConfig:
    """Who judges, and how.

    Parameters
    ----------
    name
        `none`; `openai`, any endpoint that speaks OpenAI's chat protocol; `hf`, a local model.
    model
        The endpoint's name of the model, or a hub id or local path (`hf`).
    base_url
        The endpoint; None: OpenAI's.
    key_env
        Environment variable that holds the key; it is read from nowhere else and written nowhere. None:
        OPENAI_API_KEY for OpenAI's endpoint, and no key for any other.
    mode
        `single`: every answer of both sides is graded from 1 to 10. `pairwise`: the method's answer against
        the full model's, in both orders. `both`.
    prompts
        A file of prompts in the layout of FastChat's `judge_prompts.jsonl`; None: this project's.
    temperature, max_tokens
        Of the judge's answers.
    concurrency
        Requests at a time.
    timeout_s, retries
        Of one request; a refusal for load (429) or a server's error is tried again, waiting longer each time.
    price_in, price_out
        Dollars a million tokens, for the cost that is reported; None: unknown.
    insecure
        Allow sending the key to another machine over plain HTTP.
    """

    name: str = "none"
    model: str | None = None
    base_url: str | None = None
    key_env: str | None = None
    mode: str = "single"
    prompts: str | None = None
    temperature: float = 0.0
    max_tokens: int = 512
    concurrency: int = 4
    timeout_s: float = 120.0
    retries: int = 5
    price_in: float | None = None
    price_out: float | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.name not in ("none", "openai", "hf"):
            raise DataError(f"judge.name={self.name} is unknown; choose none, openai, hf")
        if self.mode not in MODES:
            raise DataError(f"judge.mode={self.mode} is unknown; choose {', '.join(MODES)}")
        for option, least, most in (
            ("max_tokens", 1, 2**31 - 1),
            ("concurrency", 1, MOST_AT_ONCE),
            ("retries", 0, _MOST_RETRIES),
        ):
            value = getattr(self, option)
            if not least <= value <= most:
                raise DataError(f"judge.{option}={value} is out of range: from {least} to {most}")
        if not 0 < self.timeout_s <= _LONGEST_S:
            raise DataError(
                f"judge.timeout_s={self.timeout_s} is out of range: above 0 and at most {_LONGEST_S}"
            )
        if not 0 <= self.temperature <= 2:
            raise DataError(f"judge.temperature={self.temperature} is out of range: it must lie in [0, 2]")
        for option in ("price_in", "price_out"):
            price = getattr(self, option)
            if price is not None and not 0 <= price < float("inf"):
                raise DataError(f"judge.{option}={price} is out of range: it must be 0 or more, and finite")
        if self.name != "none" and not self.model:
            raise DataError(f"judge={self.name} needs judge.model, the judge's model")
        if self.key_env is not None and not _VARIABLE.fullmatch(self.key_env):
            # Not repeated: it may be the key itself.
            raise DataError(
                "judge.key_env is no name of an environment variable, in capitals; the key stays there"
            )
        self._check_url()

    @property
    def url(self) -> str:
        """The endpoint, whatever the environment says."""
        return self.base_url or OPENAI

    def _check_url(self) -> None:
        if self.base_url is None:
            return
        try:
            parts = urlsplit(self.base_url)
            host = parts.hostname
        except ValueError:
            host, parts = None, urlsplit("")
        if "@" in self.base_url or parts.query or parts.fragment:
            # Not repeated: it may hold the key.
            raise DataError(
                "judge.base_url holds a name, a password or a query; a key is named by judge.key_env"
            )
        if parts.scheme not in ("http", "https") or not host:
            raise DataError(f"judge.base_url={self.base_url} is no address; https://host/v1 is expected")
        if parts.scheme == "http" and host not in _LOOPBACK and not self.insecure:
            raise DataError(
                f"judge.base_url={self.base_url} would send the key over plain HTTP; use https, or say "
                "judge.insecure=true"
            )
