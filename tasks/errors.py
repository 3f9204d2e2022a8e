"""The one exception of this package that a user can cause."""


class DataError(ValueError):
    """Task data or a task option is missing or malformed.

    The message is a single line that names the file, line and field (or the option) and says what would be
    right.
    """
