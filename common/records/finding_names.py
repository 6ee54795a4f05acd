"""Names that mean the same finding: suggested to a person, never applied without one."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# Words that public collections use for one finding; compared without case, blanks and underscores. Names of NIH
# ChestX-ray14, CheXpert, MIMIC-CXR and PadChest, and of the Fleischner Society's glossary (D. M. Hansell et al.,
# Radiology 2008, https://doi.org/10.1148/radiol.2462070712). Near relatives are left out on purpose: CheXpert's Lung
# Lesion is mass or nodule, its Lung Opacity more than a consolidation.
_SYNONYMS = (
    ("Effusion", "Pleural Effusion", "Pleural Effusions", "Pleural Fluid", "Hydrothorax"),
    ("Cardiomegaly", "Enlarged Heart", "Heart Enlargement", "Cardiac Enlargement", "Enlarged Cardiac Silhouette"),
    ("Pleural Thickening", "Thickened Pleura", "Pleura Thickening"),
    ("Edema", "Oedema", "Lung Edema", "Pulmonary Edema", "Pulmonary Oedema", "Lung Oedema"),
    ("Fibrosis", "Pulmonary Fibrosis", "Lung Fibrosis"),
    ("Emphysema", "Pulmonary Emphysema"),
    ("Hernia", "Hiatal Hernia", "Hiatus Hernia", "Diaphragmatic Hernia"),
    ("Infiltration", "Infiltrate", "Infiltrates", "Lung Infiltrate", "Pulmonary Infiltrate"),
    ("Mass", "Lung Mass", "Pulmonary Mass"),
    ("Nodule", "Nodules", "Lung Nodule", "Pulmonary Nodule", "Lung Nodules", "Pulmonary Nodules"),
    ("Atelectasis", "Atelectases", "Lung Collapse", "Collapsed Lung"),
    ("Consolidation", "Lung Consolidation", "Airspace Consolidation"),
    ("Pneumothorax", "Collapse by Air", "PTX"),
    ("Pneumonia", "Pneumonias", "Lung Infection"),
    ("COVID-19", "COVID", "COVID19", "SARS-CoV-2", "Corona"),
    ("Tuberculosis", "TB", "TBC"),
    ("Fracture", "Rib Fracture", "Fractures"),
    ("No Finding", "No Findings", "Normal", "Healthy", "None"),
)

# Two names of NIH ChestX-ray14 differ more than this, Pneumonia and Pneumothorax the least (0.67); one wrong letter
# in a name of six leaves 0.83.
_TYPO = 0.8


def plain_name(name: str) -> str:
    """The name without case, accents, blanks, hyphens and underscores."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[\s_\-]+", "", "".join(letter for letter in letters if not unicodedata.combining(letter)))


_GROUPS: Mapping[str, int] = {plain_name(name): group for group, names in enumerate(_SYNONYMS) for name in names}


def same_finding(name: str, known: Iterable[str]) -> str | None:
    """The name among ``known`` that ``name`` may well be: another spelling, a common synonym, or a slip of a letter."""
    known = tuple(known)
    spelled = plain_name(name)
    if not spelled:
        return None
    by_spelling = {plain_name(other): other for other in reversed(known)}
    if spelled in by_spelling:
        return by_spelling[spelled]
    if spelled in _GROUPS:
        for other_spelling, other in by_spelling.items():
            if _GROUPS.get(other_spelling) == _GROUPS[spelled]:
                return other
    close = difflib.get_close_matches(spelled, by_spelling, n=1, cutoff=_TYPO)
    return by_spelling[close[0]] if close else None


def refuse_alike(path: Path, names: Sequence[str]) -> None:
    """ValueError where two of ``names`` that a table itself brings are one name in two spellings."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(re.sub(r"\.\d+$", "", plain_name(name)), name)
        if other != name:
            raise ValueError(f"{path}: {unclear_names([(name, other)])}")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`` (did you mean 'X'?)`` with the most similar known name, or nothing."""
    by_lower = {other.lower(): other for other in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def unclear_names(guesses: Sequence[tuple[str, str]]) -> str:
    """What to do about names that may or may not be the consortium's; ``guesses`` are (name in the file, finding)."""
    questions = " ".join(f"`{name}`: did you mean `{finding}`?" for name, finding in guesses)
    answer = ", ".join(f"{name}: {finding}" for name, finding in guesses)
    return (
        f"{questions} If so, write under xray.mapping `names: {{{answer}}}`, or correct the file or labels.findings; "
        "if not, give the name null there"
    )
