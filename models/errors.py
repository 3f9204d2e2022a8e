"""The one exception of this room."""


class ModelError(ValueError):
    """A model that cannot be found, read or opened, said in one line that a user can act on."""
