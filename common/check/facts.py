"""What the check remembers of one image: numbers and a thumbnail, enough for all questions without reading it again."""

import io
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.check.chest import chest_likeness, mirror_symmetry
from fedthorax.common.check.letters import letters_in_a_row
from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.decode import SNIFF_BYTES, format_of, num_outliers, pixel_digest
from fedthorax.common.pixels.perceptual_hash import SIDE, perceptual_hash, signature

FACTS_VERSION = 6
"""Part of every key of the store: to be raised when a field is computed, or a picture decoded, in another way."""

GREYS = 16
"""How many quantiles of the greys are kept: the middles of as many equal parts of the pixels."""

_COLOUR_STEP = 40  # of 255 between the channels: JPEG's own colour noise on grey images stays below
_TINT_STEP = 0.12  # of the brightest channel: a screen seen in coloured light, too dark to differ by _COLOUR_STEP
_TINT_FROM, _LEAST_VISIBLE = 64, 0.01  # below this grey noise alone tints a pixel; share of pixels that are brighter
_FRAME_SIDE = 128
_FRAME_STEP = 12  # of 255 along a row or column: less is an empty border


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Greys run from 0 to 255 as the model sees them; shares from 0 to 1.

    ``format`` is PNG, JPEG, DICOM, NIfTI or another word; ``mode`` is how the file stores a pixel, in its own terms;
    ``bits`` is the stored depth of a channel, None if the file does not tell. ``grey_range`` leaves out the outermost
    0.05 % of the pixels at either end. ``chest`` are the correlations with an upright frontal chest for the image
    turned by 0, 90, 180 and 270 degrees; ``symmetry`` is the correlation with the mirror image; ``content_share`` is
    the part of the picture inside an empty border; ``colour_share`` is the part that is clearly coloured,
    ``tint_share`` the part of the brighter pixels that are not quite grey; ``letters`` is the longest row of
    letter-like marks; ``greys`` are GREYS quantiles of the greys, a byte each;
    ``outliers`` see ``num_outliers``.
    """

    digest: str
    height: int
    width: int
    format: str
    mode: str
    bits: int | None
    mean_grey: float
    grey_range: int
    corner_grey: float
    centre_grey: float
    colour_share: float
    tint_share: float
    content_share: float
    letters: int
    chest: tuple[float, float, float, float]
    symmetry: float
    hash: bytes
    signature: bytes
    greys: bytes
    outliers: int = 0

    def to_row(self) -> tuple[str, bytes]:
        """As the store keeps it: JSON, and the bytes of hash, signature and greys."""
        fields = asdict(self)
        blob = b"".join(fields.pop(name) for name in ("hash", "signature", "greys"))
        return json.dumps(fields), blob

    @classmethod
    def from_row(cls, text: str, blob: bytes) -> "ImageFacts":
        """Raises ValueError, KeyError or TypeError if the row was damaged."""
        fields = json.loads(text)
        fields["chest"] = tuple(fields["chest"])
        if len(blob) != 32 + SIDE * SIDE + GREYS:
            raise ValueError("damaged row")
        return cls(**fields, hash=blob[:32], signature=blob[32:-GREYS], greys=blob[-GREYS:])


def facts_of(image: NDArray[np.uint8], content: bytes) -> ImageFacts:
    """The facts of a decoded ``image`` (H, W, 3) of a file with the bytes ``content``."""
    grey = Image.fromarray(image).convert("L")
    small = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), np.float32)
    thumbnail = signature(small)
    corners = np.concatenate([small[rows, columns].ravel() for rows in _ENDS for columns in _ENDS])
    format_name, mode, bits = stored_as(content)
    upright, quarter, half, three_quarters = chest_likeness(small)
    below = np.cumsum(grey.histogram())
    # The windows of a CT slice are shown as colours, which are no colours of the picture.
    colour_share, tint_share = coloured(image) if format_name in ("PNG", "JPEG") else (0.0, 0.0)
    return ImageFacts(
        digest=pixel_digest(image),
        height=image.shape[0],
        width=image.shape[1],
        format=format_name,
        mode=mode,
        bits=bits,
        mean_grey=round(float(small.mean()), 2),
        grey_range=_grey_range(below),
        corner_grey=round(float(corners.mean()), 2),
        centre_grey=round(float(small[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].mean()), 2),
        colour_share=colour_share,
        tint_share=tint_share,
        content_share=_content_share(grey),
        letters=letters_in_a_row(grey),
        chest=(upright, quarter, half, three_quarters),
        symmetry=mirror_symmetry(small),
        hash=perceptual_hash(thumbnail),
        signature=thumbnail.tobytes(),
        greys=grey_quantiles(below).tobytes(),
        # White pixels but few: only then is it worth the second reading.
        outliers=num_outliers(content) if bits and bits > 8 and below[254] < below[-1] <= 1.01 * below[254] else 0,
    )


_OUTERMOST = 0.0005
_ENDS = (slice(0, SIDE // 8), slice(-SIDE // 8, None))


def stored_as(content: bytes) -> tuple[str, str, int | None]:
    """Format, mode and bits a channel, from the header alone; unknown parts are ``?`` and None."""
    kind = format_of(content[:SNIFF_BYTES])
    if kind in ("PNG", "JPEG"):
        # Neither warnings nor errors of the header are for here: the picture itself was decoded or is named as damaged.
        with silence(), suppress(Exception), Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            return kind, image.mode, content[24] if kind == "PNG" else getattr(image, "bits", 8)
    if kind == "DICOM":
        import pydicom

        with silence(), suppress(Exception):
            header: Any = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, force=True)
            return kind, str(header.PhotometricInterpretation), int(header.BitsStored)
    return kind or "?", "?", None


def grey_quantiles(below: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``greys`` of ImageFacts, of the number of pixels up to each of 256 greys."""
    return np.searchsorted(below, (np.arange(GREYS) + 0.5) / GREYS * below[-1]).astype(np.uint8)


def _grey_range(below: NDArray[np.int64]) -> int:
    """Between the darkest and the brightest pixel, less the outermost 0.05 % at either end: a large picture of one grey
    has a few pixels far off by noise alone."""
    ends = np.array([_OUTERMOST, 1 - _OUTERMOST]) * below[-1]
    return int(np.searchsorted(below, ends[1]) - np.searchsorted(below, ends[0], side="right"))


def coloured(image: NDArray[np.uint8]) -> tuple[float, float]:
    """``colour_share`` and ``tint_share`` of ImageFacts, of a picture (H, W, 3)."""
    step = max(1, min(image.shape[:2]) // 512)
    red, green, blue = (np.ascontiguousarray(image[::step, ::step, channel]) for channel in range(3))
    # Pairwise maxima are six times as fast as a reduction over an axis of three.
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = brightest - np.minimum(np.minimum(red, green), blue)
    visible = brightest >= _TINT_FROM
    tinted = np.count_nonzero(visible & (spread > _TINT_STEP * brightest))
    num_visible = np.count_nonzero(visible)
    enough = num_visible >= _LEAST_VISIBLE * visible.size
    return float((spread > _COLOUR_STEP).mean()), tinted / num_visible if enough and num_visible else 0.0


def _content_share(grey: Image.Image) -> float:
    side = _FRAME_SIDE
    small = np.asarray(grey.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=3.0), np.int16)
    rows = np.flatnonzero(np.ptp(small, axis=1) > _FRAME_STEP)
    columns = np.flatnonzero(np.ptp(small, axis=0) > _FRAME_STEP)
    if not len(rows) or not len(columns):
        return 0.0
    return float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1) / side**2)
