"""The sentences that may leave a hospital: why a figure is null, what is wrong with its folders in general words.

A closed list: none names a file, a folder or a cell. ``{count}`` is a number of images and must be large enough,
``{setting}`` one that the lead knows.
"""

import re
from functools import cache

UNSAID = "The hospital does not say why."

SENTENCES = (
    "No label is known.",
    "None of the {count} known labels is present.",
    "All {count} known labels are present.",
    "None of the {count} slices belongs to this class.",
    "All {count} slices belong to this class.",
    "No slice was predicted to belong to this class.",
    "Nothing was predicted present at threshold {setting}.",
    "Nothing was predicted present at the thresholds.",
    "No finding has this figure.",
    "No class has this figure.",
    "No label has ten positives and negatives both here and among the others.",
    "No label has ten positives and negatives both here and among the others. Labels that few patients have, or lack, "
    "are hidden.",
    "Hidden: beside the others it would give the figures of few patients away.",
    "Fewer than {setting} patients: hidden.",
    "Fewer than {setting} patients have it, or lack it: hidden.",
    "Fewer than {setting} images: the hospital keeps it.",
    "The hospital does not give this score away.",
    "Only one of present and absent occurs.",
    "Fewer than ten positives or negatives: descriptive, not tested.",
    "Too few patients, or no spread, to tell the error.",
    "Calibration is switched off.",
    "Fewer than {setting} slices of known class: not calibrated.",
    "Fewer than {setting} slices of known class: the common calibration.",
    "Fewer than {setting} images with it, or without it: the common threshold and calibration.",
    "Ranks these images no better than chance: not calibrated.",
    "No label is known in the validation split, so nothing can be compared.",
    "There is no pair to train on.",
    "no X-ray has a known label for both",
    "one of the four combinations of the two has too few patients, or a count of one of them is hidden",
    *(
        f"fewer than {{setting}} patients have this {what}, or a count of so few could be computed from this one"
        for what in ("label of this finding", "class", "sex", "age", "size", "view", "scanner")
    ),
    "fewer than {setting} patients",
    "no images",
    "this hospital has no duplicate key",
    "this hospital's duplicate key cannot be used: it is missing, malformed or open to other users there",
)


def is_sentence(text: str, smallest: int) -> bool:
    """Whether the text may leave a hospital that tells no count below ``smallest``."""
    found = _pattern().fullmatch(text)
    return found is not None and all(number is None or int(number) >= smallest for number in found.groups())


@cache
def _pattern() -> re.Pattern[str]:
    alternatives = (
        re.escape(sentence).replace(r"\{count\}", r"(\d{1,9})").replace(r"\{setting\}", r"[\d.]{1,12}(?:e-\d\d)?")
        for sentence in SENTENCES
    )
    return re.compile("|".join(alternatives))
