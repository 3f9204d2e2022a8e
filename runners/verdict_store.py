"""What judges have said, kept by what they were asked: nobody pays twice for the same words."""

import dataclasses
import hashlib
import json
from threading import Lock
from typing import Any

from models.cache_folder import cache_root
from models.loading import ModelConfig, model_revision
from runners.files import explained, write_all
from tasks.judges.config import JudgeConfig
from tasks.judges.endpoint import Reply
from tasks.judges.prompts import Asked


class VerdictStore:
    """The verdicts of one judge, in a file of the user's cache folder to which lines are only added.

    Attributes
    ----------
    name : str
        Stands for the judge and its options.
    """

    def __init__(self, config: JudgeConfig) -> None:
        # All that changes an answer, but for the words that are asked.
        self._judge = [config.name, config.model, config.url, config.temperature, config.max_tokens]
        if config.name == "hf":
            # The same path may hold another model tomorrow.
            self._judge.append(model_revision(ModelConfig("judge", str(config.model))))
        self.name = hashlib.sha256(json.dumps(self._judge).encode()).hexdigest()[:16]
        self._path = cache_root() / "verdicts" / f"{self.name}.jsonl"
        self._lock = Lock()
        self._known: dict[str, Reply] = {}
        with explained("create", self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with explained("read", self._path):
            lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        for line in lines:
            self._remember(line)

    def _remember(self, line: bytes) -> None:
        try:
            record: dict[str, Any] = json.loads(line)
            key = record.pop("key")
            self._known[key] = Reply(**record)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # Cut short when a process was killed: that one is asked again.
            return

    def key(self, asked: Asked) -> str:
        """What a question is known by."""
        content = json.dumps([self._judge, asked.messages], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()

    def get(self, asked: Asked) -> Reply | None:
        """The verdict on a question, if it was given before."""
        return self._known.get(self.key(asked))

    def add(self, asked: Asked, reply: Reply) -> None:
        """Keep a verdict; it is on disk when this returns."""
        record = {"key": self.key(asked), **dataclasses.asdict(reply)}
        # A line of its own also after one that was cut short; one write, so that processes do not mix.
        line = f"\n{json.dumps(record)}\n".encode("utf-8", "backslashreplace")
        with self._lock, explained("write", self._path), open(self._path, "ab", buffering=0) as file:
            write_all(file, line)
            self._known[record["key"]] = reply
