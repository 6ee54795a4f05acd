"""What is odd about one image that somebody asks a model about."""

from collections.abc import Sequence
from pathlib import Path

from fedthorax.common.check.facts import facts_of
from fedthorax.common.check.suspects import suspect_codes
from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.pixels.decode import Modality, decode_image, read_content
from fedthorax.common.records.records import BadFile, ImageRef

FLAG_WORDS = {
    "inverted": "black and white look exchanged",
    "sideways": "it looks turned by a quarter or half",
    "single-colour": "it is almost all one grey",
    "colour-photo": "it is a colour picture, such as a photograph of a screen",
    "annotated": "something is written or drawn on it",
    "framing": "it is cropped, off centre or has wide borders, or is no frontal chest",
}
"""What each code says of one picture, for people."""


def flags_of(image: Path | ImageRef, modality: Modality, windows: Sequence[CtWindow] = CT_WINDOWS) -> list[str]:
    """Codes of the check (docs/check.md) that hold: inverted, sideways, colour-photo, single-colour, …

    The image is answered about all the same: none of them is certain. ValueError if it cannot be read.
    """
    path = image.path if isinstance(image, ImageRef) else image
    content = read_content(path)
    if isinstance(content, BadFile):
        raise ValueError(f"{path}: {content.reason}")
    return sorted(suspect_codes(facts_of(decode_image(image, modality, windows), content), modality))
