"""Patient ids that a spreadsheet or a hand may have changed: one person under two ids, or several under one."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, kind, splits_of
from fedthorax.common.issues.issue import Issue
from fedthorax.common.records.layouts import MISSING, plain_cell

# As a spreadsheet shows a number of more than eleven digits; a sign or a fraction, so that no hash is meant.
_ROUNDED = re.compile(r"\d[.,](?P<digits>\d+)e\+?\d+|\d(?P<none>)e\+\d+", re.IGNORECASE)

# Written in the place of an id: everybody without one would be one person.
_NOBODY = MISSING | {"anonymous", "anonym", "anonymized", "anonymised", "unbekannt", "#ref!", "#value!", "#name?"}
_MONTH = "(jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)"
# What a spreadsheet makes of 1-3, 3/1 and MAR1: a day, or a month of a year.
_AS_DATE = re.compile(rf"\d{{1,2}}[-. ]+{_MONTH}\.?|{_MONTH}\.?[- ]\d{{2}}", re.IGNORECASE)
_DIGITS = 15  # that a spreadsheet keeps of a number; what follows becomes zeros


def unclear_patients(images: Iterable[LabelledImage]) -> list[tuple[LabelledImage, ...]]:
    """The images of each person who may bear several ids, and those of each id that may hide several people."""
    by_id: dict[str, list[LabelledImage]] = {}
    for image in images:
        if image.identified:
            by_id.setdefault(image.patient, []).append(image)
    return [tuple(image for patient in same for image in by_id[patient]) for same in unclear_ids(by_id)]


def unclear_ids(ids: Collection[str]) -> list[list[str]]:
    """Of different ``ids`` those that may be one person's, together; and alone each that may be several people's."""
    rounded = {patient: match for patient in ids if (match := _ROUNDED.fullmatch(patient.strip()))}
    alike: dict[str, list[str]] = {}
    for patient in ids:
        alike.setdefault(_spelled(patient), []).append(patient)
    groups = [same for same in alike.values() if len(same) > 1]
    numbers = [patient for patient in ids if patient.strip().isdecimal()] if rounded else []
    for patient, match in rounded.items():
        places = len(match["digits"] or "")
        short = patient.strip().replace(",", ".").upper()
        groups.append([patient, *(full for full in numbers if f"{int(full):.{places}E}" == short)])
    nobody = ([patient] for patient in ids if plain_cell(patient) in _NOBODY or _AS_DATE.fullmatch(patient.strip()))
    return [*groups, *nobody, *_cut_numbers(ids)]


def _cut_numbers(ids: Collection[str]) -> list[list[str]]:
    """Long numbers that end in zeros beside one that does not; or alone, where all do, and so by no chance."""
    long = [patient for patient in ids if patient.isdecimal() and len(patient) > _DIGITS]
    cut = [patient for patient in long if not patient[_DIGITS:].strip("0")]
    beside = {
        patient: [full for full in long if full != patient and full[:_DIGITS] == patient[:_DIGITS]] for patient in cut
    }
    all_cut = len(cut) == len(long) > 2
    return [[patient, *beside[patient]] for patient in cut if beside[patient] or all_cut]


def unclear_issues(groups: Sequence[tuple[LabelledImage, ...]]) -> list[Issue]:
    """What is asked about them; an error where a person would stand on two sides of the split. The sentences name
    nobody: they may leave the hospital as the reason of a refusal."""
    torn = [group for group in groups if len(splits_of(group)) > 1]
    quiet = [group for group in groups if len(splits_of(group)) < 2]
    issues = []
    for code, ours, where in (
        ("patient-unclear-across-splits", torn, " and stand on two sides of the split"),
        ("patient-unclear", quiet, ""),
    ):
        if ours:
            words = f"{number_of(len(ours), 'person has', 'people have')} ids that may be one id or several{where}"
            files = tuple(image.name for group in ours for image in group)
            issues.append(Issue(code, len(ours), words, files, groups=tuple(map(_ids, ours))))
    return issues


def _ids(group: Sequence[LabelledImage]) -> tuple[str, ...]:
    held: dict[str, Counter[str]] = {}
    for image in group:
        held.setdefault(image.patient, Counter())[image.modality] += 1
    told = {patient: [kind(name, of[name]) for name in KINDS if of[name]] for patient, of in held.items()}
    return tuple(f"{patient} ({', '.join(kinds)})" for patient, kinds in told.items())


def _spelled(patient: str) -> str:
    """One spelling: without capitals, leading zeros, an apostrophe in front, ``.0`` behind, marks for thousands, a time
    behind a date; with one order of a date, and one kind of mark between parts, none between letters and their number.
    """
    text = unicodedata.normalize("NFKC", patient).casefold()
    text = "".join(mark for mark in text if unicodedata.category(mark) != "Cf").strip().lstrip("'+#").rstrip(".")
    text = re.sub(r"(?<=\d)[ t]00:00(:00)?(\.0+)?$", "", text)
    text = re.sub(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})$", r"\3-\2-\1", text)  # a date as German spreadsheets write it
    text = re.sub(r"^(\d{1,2})/(\d{1,2})/(\d{4})$", r"\3-\1-\2", text)  # and as American ones do
    if re.fullmatch(r"\d+[.,]0+", text):
        text = re.split(r"[.,]", text)[0]
    if re.fullmatch(r"\d{1,3}([,.' ]\d{3})+", text):
        text = re.sub(r"\D", "", text)
    text = re.sub(r"[\s_/-]+", "-", text)
    text = re.sub(r"(?<=[^\W\d])[-.](?=\d)", "", text)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)
