"""Whether a run takes a hospital's data: without errors of the check, or with those that the experiment accepts."""

from collections.abc import Collection, Sequence

from fedthorax.common.issues.issue import Issue
from fedthorax.common.issues.unusable import UnusableDataError


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
