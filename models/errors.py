"""The one exception of this room."""


class ModelError(ValueError):
    """A model that cannot be found, read or opened, said in one line that a user can act on."""


def first_line(error: Exception) -> str:
    """What an error of somebody else's says first; its kind, if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
