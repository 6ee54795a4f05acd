"""PNG and JPEG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.undecodable import UndecodableError

MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}

# Detectors deliver 10 to 16 bits; PNG has no depth between 8 and 16.
_GREY_DEPTHS = (8, 10, 12, 14, 16)

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(content: bytes) -> NDArray[np.uint8]:
    """The picture in the bytes of a PNG or JPEG file, as uint8 (H, W, 3); of several frames the first.

    Colour profiles and PNG gamma are not applied: they differ by a barely visible shade, and most radiographs carry
    none. Raises UndecodableError.
    """
    kind = next(name for magic, name in MAGIC.items() if content.startswith(magic))
    try:
        with silence(), Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            image.load()
            return _as_seen(image, _orientation(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise too_many_pixels() from None
    except MemoryError:
        raise
    # A damaged file can make a parser fail in any way; it has to be named, and must not end the run by itself.
    except Exception as error:
        state = "truncated" if "truncated" in str(error).lower() else "truncated or damaged"
        reason = f"is {state}: it begins like a {kind} file but cannot be decoded to its end"
        raise UndecodableError("truncated", reason) from None


def too_many_pixels() -> UndecodableError:
    limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
    return UndecodableError("unsupported", f"has more than {limit} million pixels, far beyond any radiograph")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Damaged EXIF data beside an intact picture: upright is the best guess.
        return 1


def _as_seen(image: Image.Image, orientation: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    image = image.convert("RGB")
    if orientation in _TRANSPOSITIONS:
        image = image.transpose(_TRANSPOSITIONS[orientation])
    return np.array(image)


def _eight_bit(image: Image.Image) -> Image.Image:
    stored = np.asarray(image).astype(np.uint32)
    largest = next(2**depth - 1 for depth in _GREY_DEPTHS if stored.max() < 2**depth)
    return Image.fromarray(((stored * 255 + largest // 2) // largest).astype(np.uint8))
