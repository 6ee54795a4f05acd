"""A hospital's data that cannot be used: what its own people read, and what may be said outside."""


class UnusableDataError(ValueError):
    """``outside`` says the same without a name of a file, a path, or anything that stands in a file."""

    def __init__(self, message: str, outside: str) -> None:
        super().__init__(message)
        self.outside = outside


def outside_words(error: Exception) -> str:
    """What may be said of an error that came while a hospital's data were read."""
    if isinstance(error, UnusableDataError):
        return error.outside
    if isinstance(error, PermissionError):
        return "a file or folder may not be read"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "a file or folder that its settings name is not there"
    if isinstance(error, OSError):
        return f"the disk says: {error.strerror or type(error).__name__}"
    return "its folders or label files are not as expected"
