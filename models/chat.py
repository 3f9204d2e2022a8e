"""A model's chat template, with what a user gives it and the moment that it may write."""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from models.compat import writing_time
from models.errors import ModelError, readable


class ChatTemplate:
    """The template of a tokenizer as a function of the messages alone.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    options : mapping or None
        Variables of the template, such as `enable_thinking`.
    moment : callable
        What `strftime_now` of the template says; called if that asks, and once.

    Attributes
    ----------
    dated : datetime or None
        The moment that the template has asked for, if it has.
    written : dict
        What it has written of that moment, by the form in which it asked.

    Raises
    ------
    ModelError
        An option is none of the template's variables, or there is no template to take it.
    """

    def __init__(
        self,
        tokenizer: Any,
        options: Mapping[str, Any] | None = None,
        moment: Callable[[], datetime] = datetime.now,
    ):
        self._tokenizer, self._moment = tokenizer, moment
        self._options = dict(options or {})
        self.dated: datetime | None = None
        self.written: dict[str, str] = {}
        self._fault: Exception | None = None
        # Only then: a prompt without a chat needs no template, nor one that can be read.
        source = self._source() if self._options else None
        reserved = inspect.signature(tokenizer.apply_chat_template).parameters
        for name in self._options:
            if name in (*reserved, "messages", "strftime_now"):
                raise ModelError(f"model.chat_template_kwargs.{name} is not for users to set; leave it out")
            if source is None:
                raise ModelError(
                    f"model.chat_template_kwargs.{name} has no effect: the model has no chat template"
                )
            if not re.search(rf"\b{re.escape(name)}\b", source):
                raise ModelError(
                    f"model.chat_template_kwargs.{name} has no effect: the chat template does not name it"
                )

    def _source(self) -> str | None:
        given = self._tokenizer.chat_template
        if not given:
            return None
        if isinstance(given, dict) and "default" not in given:
            raise ModelError(
                f"the model has chat templates for special uses ({', '.join(given)}) and none for others; "
                "name one of them default in its folder"
            )
        with readable("the model's chat template fails"):
            return str(self._tokenizer.get_chat_template())

    def render(self, messages: list[Any]) -> str | None:
        """A chat up to where its answer begins; None: there is no template.

        Raises
        ------
        ModelError
            The template is broken, does not take such messages, or writes something else every time.
        """
        source = self._source()
        if source is None:
            return None
        text = self._rendered(source, messages)
        # A random choice, a counter: two runs of such prompts cannot be compared, not even with themselves.
        if text != self._rendered(source, messages):
            raise ModelError(
                "the model's chat template writes another text each time, so that no answer can be "
                "repeated; remove what is random from it"
            )
        return text

    def _rendered(self, source: str, messages: list[Any]) -> str:
        try:
            with readable("the model's chat template fails"), writing_time(source, self._written):
                text: str = self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True, **self._options
                )
        except ModelError:
            # Not the template's fault: the moment cannot be had.
            if self._fault is not None:
                raise self._fault from None
            raise
        return text

    def _written(self, form: str) -> str:
        try:
            self.dated = self.dated or self._moment()
        except Exception as error:
            self._fault = error
            raise
        return self.written.setdefault(form, self.dated.strftime(form))
