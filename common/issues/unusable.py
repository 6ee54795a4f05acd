"""A hospital's data that cannot be used: what its own people read, and what may be said outside."""

from collections.abc import Collection, Iterable, Sequence

from fedthorax.common.issues.issue import Issue


class UnusableDataError(ValueError):
    """``outside`` says the same by the ``codes`` of the check alone."""

    def __init__(self, message: str, codes: Iterable[str]) -> None:
        super().__init__(message)
        self.codes = tuple(dict.fromkeys(codes))

    @property
    def outside(self) -> str:
        return f"the check finds {', '.join(self.codes)}"


def outside_words(error: Exception) -> str:
    """What may be said of an error that came while a hospital's data were read."""
    if isinstance(error, UnusableDataError):
        return error.outside
    if isinstance(error, PermissionError):
        return "a file or folder may not be read"
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "a file or folder that its settings name is not there"
    if isinstance(error, OSError):
        return "its disk cannot be read"
    return "its folders or label files are not as expected"


def admit(issues: Sequence[Issue], accepted: Collection[str]) -> None:
    """Raises UnusableDataError that names each error not in ``accepted``, and the ways out; no patient and no file."""
    refused = [issue for issue in issues if issue.level == "error" and issue.code not in accepted]
    if refused:
        told = "; ".join(f"{issue.code} ({issue.sentence})" for issue in refused)
        codes = tuple(dict.fromkeys(issue.code for issue in refused))
        words = (
            f"the check finds errors in these data: {told}. `fedthorax check` shows the files and what to do; to go on "
            f"nevertheless, set data.accept to [{', '.join(codes)}], and the report will say so"
        )
        raise UnusableDataError(words, codes)
