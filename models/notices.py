"""What a user should know of a model although it can be run: Python warnings of one category."""

import warnings


class ModelNotice(UserWarning):
    """Something about a model or its tokenizer that is passed over, in one line."""


def notice(text: str) -> None:
    """Warn in one line; whoever shows warnings decides how often."""
    warnings.warn(text, ModelNotice, stacklevel=2)
