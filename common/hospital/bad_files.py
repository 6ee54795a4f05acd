"""Files that cannot be used, by what is wrong with them, and images that lack something."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS, kind, slice_name
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.folder_records import FolderRecords
from fedthorax.common.records.records import BadFile, CtRecord, XrayRecord

_FAULT_CODES: Mapping[str, str] = {
    "missing": "label-without-image",
    "broken_link": "file-broken-link",
    "permission": "file-no-permission",
    "disk": "file-truncated",
    "empty": "file-truncated",
    "truncated": "file-truncated",
    "unsupported": "file-unsupported",
    "other_scale": "file-unsupported",
    "other_modality": "file-other-modality",
}


def bad_file_code(bad: BadFile) -> str:
    """The code under which a file that cannot be used is counted."""
    if bad.fault == "other":
        return "file-truncated" if bad.path.exists() else "label-without-image"
    return _FAULT_CODES.get(bad.fault, "file-not-an-image")


def bad_file_issues(bad: Sequence[BadFile], modality: Modality, folder: Path) -> list[Issue]:
    """One issue a code; a picture that is good but not wanted here, such as a scout view, is a remark."""
    by_code: dict[str, list[BadFile]] = {}
    for file in bad:
        by_code.setdefault("remark" if file.fault == "not_used" else bad_file_code(file), []).append(file)
    issues = []
    for code, files in by_code.items():
        listed_names = tuple(slice_name(file.ref, folder) for file in files)
        reasons = Counter(file.reason for file in files)
        if code == "remark":
            left = "; ".join(f"{reason} ({number:,})" for reason, number in reasons.most_common())
            kind = "axial chest CT slices" if modality == "ct" else "chest radiographs"
            words = f"{number_of(len(files), 'file')} left out, good but no {kind}: {left}"
        else:
            what = "row" if code == "label-without-image" else "file"
            told = [
                reason + (f" ({number:,})" if len(reasons) > 1 < number else "") for reason, number in reasons.items()
            ]
            more = f"; and {number_of(len(told) - 3, 'more reason')}" if len(told) > 3 else ""
            words = f"{number_of(len(files), what)} of the {KINDS[modality]}: {'; '.join(told[:3])}{more}"
        issues.append(Issue(code, len(files), words, listed_names, modality))
    return issues


def record_issues(records: FolderRecords[XrayRecord] | FolderRecords[CtRecord], modality: Modality) -> list[Issue]:
    """Images that nobody has labelled, of nobody known, or passed over by the experiment's choice."""
    issues = []
    if records.without_row:
        words = f"{kind(modality, len(records.without_row))} without a row in the label file"
        issues.append(Issue("image-without-label", len(records.without_row), words, records.without_row, modality))
    if records.own_patients:
        words = f"no patient is known for {len(records.own_patients):,} of {kind(modality, len(records.records))}"
        files = tuple(dict.fromkeys(records.own_patients))
        issues.append(Issue("patient-unknown", len(records.own_patients), words, files, modality))
    if records.passed_over:
        whole = records.passed_over + len(records.records)
        words = f"data.ct_slices passes over {records.passed_over} of {whole} CT slices"
        issues.append(Issue("slices-passed-over", records.passed_over, words, modality=modality))
    return issues
