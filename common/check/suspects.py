"""Pictures that do not look like the others; what each threshold costs in false alarms stands in docs/check.md."""

from collections.abc import Callable, Mapping, Sequence

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.hospital.labelled import KINDS, LabelledImage, kind, names
from fedthorax.common.issues.issue import Issue
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef

_MAX_GREY_RANGE = 8  # of 255 between the darkest and the brightest pixel
_PHOTO_SHARE, _MARK_SHARE = 0.05, 0.0002  # coloured pixels: of a photograph; of a pen, 10 of 224 x 224
_TINTED_SHARE = 0.2  # of the brighter pixels; published radiographs and slices stay below 0.01
_LETTERS = 6
_TURN_MARGIN = 0.1  # by which another orientation must look more like a chest
_MIN_CHEST, _MIN_SYMMETRY, _MIN_CONTENT = 0.25, -0.15, 0.7
_MOST_SLENDER = 1.6  # long side by short side; detectors of chest stands are at most 5:4 or so
_BRIGHT_CORNER, _CORNER_STEP = 180, 30  # greys of the air around a body: how bright, and above the body's middle
_LATERAL_VIEWS = ("LL", "RL", "LATERAL")

Judge = Callable[[ImageFacts], float | None]
"""How suspect an image is, from what on is for the judge to know; None if it is not."""


def suspect_issues(images: Sequence[LabelledImage], facts: Mapping[ImageRef, ImageFacts]) -> list[Issue]:
    """One issue a code and modality, the most suspect images first.

    X-rays are compared with an upright frontal chest, unless their view is known to be lateral; CT slices with a body
    surrounded by air. Turned CT slices are not looked for: a chest is as round from above as from below.
    """
    issues = []
    for modality in KINDS:
        ours = [image for image in images if image.modality == modality and image.ref in facts]
        frontal = [image for image in ours if (image.attributes.view or "").upper() not in _LATERAL_VIEWS]
        for code, (judge, words) in _JUDGES[modality].items():
            candidates = frontal if code in _FRONTAL_ONLY else ours
            marked = [(judge(facts[image.ref]), image) for image in candidates]
            found = [(value, image) for value, image in marked if value is not None]
            found.sort(key=lambda pair: (-pair[0], pair[1].name))
            if found:
                sentence = f"{len(found):,} of {kind(modality, len(candidates))} {words}"
                issues.append(Issue(code, len(found), sentence, names([image for _, image in found]), modality))
    return issues


def outlier_remarks(images: Sequence[LabelledImage], facts: Mapping[ImageRef, ImageFacts]) -> list[Issue]:
    """What is said of pictures that were scaled without a few values far beyond the others."""
    found = [image for image in images if image.ref in facts and facts[image.ref].outliers]
    words = (
        f"{len(found):,} of the pictures hold a few values far beyond all others, such as burnt-in letters; these are "
        "shown white, and the others are scaled without them"
    )
    return [Issue("remark", len(found), words, names(found), found[0].modality)] if found else []


def suspect_codes(facts: ImageFacts, modality: Modality) -> frozenset[str]:
    """The codes of all that is suspect in one image, frontal if it is an X-ray."""
    return frozenset(code for code, (judge, _) in _JUDGES[modality].items() if judge(facts) is not None)


def _single_colour(facts: ImageFacts) -> float | None:
    return float(-facts.grey_range) if facts.grey_range <= _MAX_GREY_RANGE else None


def _colour_photo(facts: ImageFacts) -> float | None:
    if facts.colour_share < _PHOTO_SHARE and facts.tint_share < _TINTED_SHARE:
        return None
    return max(facts.colour_share, facts.tint_share)


def _annotated(facts: ImageFacts) -> float | None:
    if _MARK_SHARE <= facts.colour_share < _PHOTO_SHARE and _colour_photo(facts) is None:
        return 100 + facts.colour_share
    return float(facts.letters) if facts.letters >= _LETTERS else None


def _inverted(facts: ImageFacts) -> float | None:
    upright, inverted, _ = _likeness(facts)
    return inverted - upright if inverted == max(_likeness(facts)) and inverted - upright > _TURN_MARGIN else None


def _turned(facts: ImageFacts) -> float | None:
    upright, _, turned = _likeness(facts)
    return turned - upright if turned == max(_likeness(facts)) and turned - upright > _TURN_MARGIN else None


def _likeness(facts: ImageFacts) -> tuple[float, float, float]:
    """How much the image looks like a chest as it is, with inverted greys in any orientation, turned."""
    upright, *turned = facts.chest
    return upright, max(-value for value in facts.chest), max(turned)


def _framing(facts: ImageFacts) -> float | None:
    if _single_colour(facts) is not None or _inverted(facts) is not None or _turned(facts) is not None:
        return None
    reasons = (
        _MIN_CHEST - max(map(abs, facts.chest)),
        _MIN_SYMMETRY - facts.symmetry,
        _MIN_CONTENT - facts.content_share,
        max(facts.height, facts.width) / max(1, min(facts.height, facts.width)) - _MOST_SLENDER,
    )
    return max(reasons) if max(reasons) > 0 else None


def _bright_air(facts: ImageFacts) -> float | None:
    step = facts.corner_grey - facts.centre_grey
    return step if step > _CORNER_STEP and facts.corner_grey >= _BRIGHT_CORNER else None


_COMMON: Mapping[str, tuple[Judge, str]] = {
    "single-colour": (_single_colour, "show a single colour"),
    "colour-photo": (_colour_photo, "are colour pictures"),
    "annotated": (_annotated, "have writing or coloured marks in the picture"),
}
_JUDGES: Mapping[Modality, Mapping[str, tuple[Judge, str]]] = {
    "xray": {
        **_COMMON,
        "inverted": (_inverted, "look inverted: dark bone, bright air"),
        "sideways": (_turned, "look turned by a quarter or half"),
        "framing": (_framing, "are framed unlike a frontal chest: cropped, off centre or wide borders"),
    },
    "ct": {**_COMMON, "inverted": (_bright_air, "look inverted: bright air around a dark body")},
}
_FRONTAL_ONLY = frozenset({"inverted", "sideways", "framing"})
