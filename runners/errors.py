"""The exception of this room."""


class RunError(ValueError):
    """A mistake of the user or of their machine, told in one line that says what would be right."""
