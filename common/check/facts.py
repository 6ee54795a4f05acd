"""What the check remembers of one image: numbers and a thumbnail, enough for all questions without reading it again.

The pattern of an upright frontal chest radiograph is the mean of 500 of NIH ChestX-ray14, reduced to 8 x 8, made
symmetric, centred, scaled and rounded (`benchmarks/check_calibration.py` computes it again); it holds nothing of any
single patient.
"""

import io
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.decode import SNIFF_BYTES, format_of, num_outliers, pixel_digest
from fedthorax.common.pixels.perceptual_hash import SIDE, perceptual_hash, signature

_SIDE = 384  # at which the writing that a hospital's workstation burns in is 4 to 24 pixels high
_BRIGHT = 200
_STEP = 80  # above the darkest pixel nearby: ribs and catheters rise less steeply
_NEIGHBOURHOOD = 9
_HEIGHTS = (4, 24)
_SAME_LINE, _SAME_HEIGHT, _REACH = 2.5, 2, 120
_MOST_MARKS = 500  # a picture of noise has thousands, and none of them is writing


def letters_in_a_row(grey: Image.Image) -> int:
    """How many letter-like marks stand in the longest line of ``grey``; side letters such as L count one."""
    from scipy import ndimage

    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), np.int16)
    bright = small >= _BRIGHT
    if not bright.any():
        return 0
    marks, _ = ndimage.label(bright & (small - ndimage.minimum_filter(small, _NEIGHBOURHOOD) >= _STEP), np.ones((3, 3)))
    boxes = np.array(
        [(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(marks)], dtype=np.float32
    ).reshape(-1, 4)
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    boxes = boxes[(heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1]) & (widths <= _HEIGHTS[1])]
    if not 0 < len(boxes) <= _MOST_MARKS:
        return 0
    middles, heights, lefts = (boxes[:, 0] + boxes[:, 1]) / 2, boxes[:, 1] - boxes[:, 0], boxes[:, 2]
    in_line = np.abs(middles[:, None] - middles) <= _SAME_LINE
    in_line &= np.abs(heights[:, None] - heights) <= _SAME_HEIGHT
    in_line &= np.abs(lefts[:, None] - lefts) <= _REACH
    return int(in_line.sum(axis=1).max())


_LEFT_HALF = (
    (-25, -21, -15, 0),
    (-3, -3, -10, -3),
    (5, 0, -15, -3),
    (2, -2, -13, 3),
    (-3, -2, -4, 11),
    (-8, 1, 7, 18),
    (-12, 7, 18, 24),
    (-14, 10, 22, 26),
)
_GRID = 8

Floats = NDArray[np.float32]


def chest_likeness(small: Floats) -> tuple[float, float, float, float]:
    """Correlations of ``small`` (a square, its side a multiple of 8) with the pattern turned by 0, 90, 180 and 270
    degrees counter-clockwise; about -c for inverted greys where the right ones give c, and 0 for a single colour."""
    picture = _centred(_reduced(small))
    values = [float((picture * pattern).sum()) for pattern in _PATTERNS]
    return values[0], values[1], values[2], values[3]


def mirror_symmetry(small: Floats) -> float:
    """Correlation of ``small`` with its mirror image, on the same coarse grid; 0 for a single colour."""
    picture = _centred(_reduced(small))
    return float((picture * picture[:, ::-1]).sum())


def _reduced(small: Floats) -> Floats:
    cell = small.shape[0] // _GRID
    means: Floats = small.reshape(_GRID, cell, _GRID, cell).mean(axis=(1, 3), dtype=np.float32)
    return means


def _centred(picture: Floats) -> Floats:
    centred = picture - picture.mean()
    length = float(np.linalg.norm(centred))
    return centred / np.float32(length) if length > 1e-3 else np.zeros_like(centred)


def _pattern() -> Floats:
    left = np.array(_LEFT_HALF, np.float32)
    return _centred(np.concatenate([left, left[:, ::-1]], axis=1))


_PATTERNS = tuple(np.rot90(_pattern(), turns) for turns in range(4))


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
