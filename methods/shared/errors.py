"""The one exception of this room."""


class MethodError(ValueError):
    """A parameter out of range or something a method cannot do, said in one line that a user can act on."""
