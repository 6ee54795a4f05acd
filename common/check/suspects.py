"""Pictures that do not look like the others; what each threshold costs in false alarms stands in docs/check.md."""

from collections.abc import Callable, Mapping, Sequence

from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.check.issue import Issue
from fedthorax.common.check.labelled import KINDS, LabelledImage, kind, names
from fedthorax.common.data.records import ImageRef

_MAX_GREY_RANGE = 8  # of 255 between the darkest and the brightest pixel
_PHOTO_SHARE, _MARK_SHARE = 0.05, 0.0002  # coloured pixels: of a photograph; of a pen, 10 of 224 x 224
_LETTERS = 6
_TURN_MARGIN = 0.1  # by which another orientation must look more like a chest
_MIN_CHEST, _MIN_SYMMETRY, _MIN_CONTENT = 0.25, -0.15, 0.7
_CORNER_STEP = 60  # by which the air around a body would have to be brighter than its middle
_LATERAL_VIEWS = ("LL", "RL", "LATERAL")

Judge = Callable[[ImageFacts], float | None]
"""How suspect an image is, from what on is for the judge to know; None if it is not."""


def suspect_issues(images: Sequence[LabelledImage], facts: Mapping[ImageRef, ImageFacts]) -> list[Issue]:
    """X-rays are compared with an upright frontal chest, unless their view is known to be lateral; CT slices with a
    body surrounded by air. Turned CT slices are not looked for: a chest from below is as round as from above."""
    issues = []
    for modality in KINDS:
        ours = [image for image in images if image.modality == modality and image.ref in facts]
        frontal = [image for image in ours if (image.attributes.view or "").upper() not in _LATERAL_VIEWS]
        asked: list[tuple[str, Judge, Sequence[LabelledImage], str]] = [
            ("single-colour", _single_colour, ours, "show a single colour"),
            ("colour-photo", _colour_photo, ours, "are colour pictures"),
            ("annotated", _annotated, ours, "have writing or coloured marks in the picture"),
        ]
        if modality == "xray":
            asked += [
                ("inverted", _inverted, frontal, "look inverted: dark bone, bright air"),
                ("sideways", _turned, frontal, "look turned by a quarter or half"),
                (
                    "framing",
                    _framing,
                    frontal,
                    "are framed unlike a frontal chest: cropped, off centre or wide borders",
                ),
            ]
        else:
            asked.append(("inverted", _bright_air, ours, "look inverted: bright air around a dark body"))
        for code, judge, candidates, words in asked:
            marked = [(judge(facts[image.ref]), image) for image in candidates]
            found = sorted(
                ((value, image) for value, image in marked if value is not None),
                key=lambda pair: (-pair[0], pair[1].name),
            )
            if found:
                suspects = [image for _, image in found]
                sentence = f"{len(found):,} of {kind(modality, len(candidates))} {words}"
                issues.append(Issue(code, len(found), sentence, names(suspects), modality))
    return issues


def _single_colour(facts: ImageFacts) -> float | None:
    return float(-facts.grey_range) if facts.grey_range <= _MAX_GREY_RANGE else None


def _colour_photo(facts: ImageFacts) -> float | None:
    return facts.colour_share if facts.colour_share >= _PHOTO_SHARE else None


def _annotated(facts: ImageFacts) -> float | None:
    if _MARK_SHARE <= facts.colour_share < _PHOTO_SHARE:
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
    )
    return max(reasons) if max(reasons) > 0 else None


def _bright_air(facts: ImageFacts) -> float | None:
    step = facts.corner_grey - facts.centre_grey
    return step if step > _CORNER_STEP else None
