"""From an image file to what a person sees of it: uint8 RGB, upright.

One decoder a format stands behind one function; a further format is one more entry in ``DECODERS``. Colour profiles
and PNG gamma are not applied: they differ by a barely visible shade, and most radiographs carry none.
"""

import hashlib
import io
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fedthorax.common.data.records import BadFile

# Entering the warnings filter is not safe in several threads at once, and decoding runs in a thread pool. Only the
# parsing of headers warns, so only that part is done one by one.
_header_lock = threading.Lock()

_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}

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


def decode_image(path: Path) -> NDArray[np.uint8]:
    """The picture in ``path`` as uint8 (H, W, 3) RGB.

    Transparent parts are shown on black. The EXIF orientation is applied. 16-bit grey is scaled to 0..255 from the
    smallest usual depth (8, 10, 12, 14, 16 bits) that holds the largest stored value: 12-bit detector data in a 16-bit
    file would otherwise be seen almost black. Of several frames the first is taken.

    Raises ValueError with the file and the reason if it cannot be read.
    """
    decoded = try_decode(path)
    if isinstance(decoded, BadFile):
        raise ValueError(f"{decoded.path}: {decoded.reason}")
    return decoded


def try_decode(path: Path) -> NDArray[np.uint8] | BadFile:
    """Like ``decode_image``, but a file that cannot be read is returned with its reason, which names no path."""
    decoder = DECODERS.get(path.suffix.lower())
    if decoder is None:
        kind = f"files ending in {path.suffix}" if path.suffix else "files without an ending"
        return BadFile(path, f"{kind} are not read; expected one of {', '.join(sorted(DECODERS))}")
    try:
        return decoder(path)
    except FileNotFoundError:
        return BadFile(path, "does not exist")
    except PermissionError:
        return BadFile(path, "may not be read by this user (permission denied)")
    except IsADirectoryError:
        return BadFile(path, "is a folder, expected a file")
    except OSError as error:
        return BadFile(path, f"could not be read from the disk ({error.strerror})")
    except ValueError as error:
        return BadFile(path, str(error))


def fit_square(image: NDArray[np.uint8], size: int, aspect: Literal["pad", "squash"]) -> NDArray[np.uint8]:
    """``image`` (H, W, 3) as uint8 (size, size, 3).

    ``pad`` keeps the proportions, centres the picture and fills up with black; ``squash`` stretches both sides to
    ``size``. Pillow's bilinear filter widens with the reduction, so a fine line is averaged in and not skipped; unlike
    Lanczos it does not overshoot, so no bright rim appears beside a rib.
    """
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    if aspect == "squash":
        return _resize(image, size, size)
    scale = size / max(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    square = np.zeros((size, size, 3), np.uint8)
    top, left = (size - new_height) // 2, (size - new_width) // 2
    square[top : top + new_height, left : left + new_width] = _resize(image, new_height, new_width)
    return square


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """32 hexadecimal digits of BLAKE2b over shape and pixels: equal for equal pictures, whatever the file format."""
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _decode_with_pillow(path: Path) -> NDArray[np.uint8]:
    # All bytes are read first, so that an error of the disk is not mistaken for one of the picture.
    content = path.read_bytes()
    if not content:
        raise ValueError("is empty (0 bytes)")
    kind = next((name for magic, name in _MAGIC.items() if content.startswith(magic)), None)
    if kind is None:
        raise ValueError("is not an image that can be read: it begins neither like a PNG nor like a JPEG file")
    try:
        with _open(content) as image:
            image.load()
            return _as_seen(image, _orientation(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise ValueError(f"has more than {limit} million pixels, far beyond any radiograph") from None
    except MemoryError:
        raise
    # A damaged file can make a parser fail in any way; it has to be named, and must not end the run by itself.
    except Exception as error:
        state = "truncated" if "truncated" in str(error).lower() else "truncated or damaged"
        raise ValueError(f"is {state}: it begins like a {kind} file but cannot be decoded to its end") from None


def _open(content: bytes) -> Image.Image:
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))


def _orientation(image: Image.Image) -> int:
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
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


DECODERS: Mapping[str, Callable[[Path], NDArray[np.uint8]]] = {
    ".png": _decode_with_pillow,
    ".jpg": _decode_with_pillow,
    ".jpeg": _decode_with_pillow,
}
"""The decoder of a file by its ending in lower case. A decoder raises OSError, or ValueError with the reason."""
