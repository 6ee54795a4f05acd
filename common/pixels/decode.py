"""From an image file to what a person sees of it: uint8 RGB, upright.

A file is known by how it begins, not by its name. One decoder a format stands behind one function.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels import pillow_image
from fedthorax.common.pixels.nifti import begins_like_nifti
from fedthorax.common.pixels.png import depth_of
from fedthorax.common.pixels.undecodable import UndecodableError
from fedthorax.common.records.dicom_header import HEAD_BYTES, begins_like_dicom
from fedthorax.common.records.listing import dead_link
from fedthorax.common.records.records import BadFile, Fault, ImageRef

Modality = Literal["xray", "ct"]

Format = Literal["PNG", "JPEG", "DICOM", "NIfTI"]

# Pictures that other programs show; whoever has one knows that it is a picture.
_OTHER_FORMATS = (
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"GIF8", "GIF"), (b"%PDF", "PDF"),
    (b"\0\0\0\x0cjP", "JPEG 2000"), (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"RIFF", "WebP or other RIFF"),
    (b"NRRD", "NRRD"), (b"ObjectType", "MetaImage"), (b"BM", "BMP"),
    (b"PK\3\4", "ZIP"), (b"\x93NUMPY", "NumPy"), (b"P5\n", "PGM"), (b"P6\n", "PPM"),
)  # fmt: skip

SNIFF_BYTES = 4096
"""How much of a file ``format_of`` wants: a packed NIfTI header needs more than its 540 bytes at times."""


def decode_image(
    image: Path | ImageRef, modality: Modality | None = None, ct_windows: Sequence[CtWindow] = CT_WINDOWS
) -> NDArray[np.uint8]:
    """The picture ``image`` as uint8 (H, W, 3) RGB.

    PNG and JPEG: transparent parts are shown on black, the EXIF orientation is applied. 16 bits are scaled to 0..255
    from the smallest usual depth (8, 10, 12, 14, 16 bits) that holds all but 0.5 % of the values: 12-bit detector data
    in a 16-bit file would otherwise be seen almost black. Of several frames the first is taken.

    DICOM and NIfTI: see ``open_dicom`` and ``open_nifti``; ``ct_windows`` are shown as the colours of a CT slice. A
    file of another ``modality`` than expected is refused where it says what it is.

    Raises ValueError with the file and the reason if it cannot be read.
    """
    decoded = try_decode(image, modality, ct_windows)
    if isinstance(decoded, BadFile):
        raise ValueError(str(decoded))
    return decoded


def try_decode(
    image: Path | ImageRef, modality: Modality | None = None, ct_windows: Sequence[CtWindow] = CT_WINDOWS
) -> NDArray[np.uint8] | BadFile:
    """Like ``decode_image``, but a file that cannot be read is returned with its reason, which names no path."""
    ref = image if isinstance(image, ImageRef) else ImageRef(image)
    content = read_content(ref.path)
    if isinstance(content, BadFile):
        return content
    return next(decode_frames(ref.path, content, [ref.frame], modality, ct_windows))


def read_content(path: Path) -> bytes | BadFile:
    """All bytes of the file, read before decoding: an error of the disk must not be mistaken for one of the picture."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return dead_link(path) or BadFile(path, "does not exist", fault="missing")
    except PermissionError:
        return BadFile(path, "may not be read by this user (permission denied)", fault="permission")
    except IsADirectoryError:
        return BadFile(path, "is a folder, expected a file", fault="disk")
    except OSError as error:
        return dead_link(path) or BadFile(path, f"could not be read from the disk ({error.strerror})", fault="disk")
    return content if content else BadFile(path, "is empty (0 bytes)", fault="empty")


def decode_frames(
    path: Path,
    content: bytes,
    frames: Sequence[int | None],
    modality: Modality | None = None,
    ct_windows: Sequence[CtWindow] = CT_WINDOWS,
) -> Iterator[NDArray[np.uint8] | BadFile]:
    """The pictures ``frames`` of the file ``path`` with the bytes ``content``, one after the other.

    A volume is unpacked once for all of them. The caller of ``next`` keeps warnings silent only while it runs.
    """
    try:
        with silence():
            count, decode = _open(content, modality, ct_windows)
    except UndecodableError as error:
        yield from (_bad(path, frame, error.fault, error) for frame in frames)
        return
    for frame in frames:
        try:
            with silence():
                picture = decode(_index(frame, count))
        except UndecodableError as error:
            yield _bad(path, frame, error.fault, error)
        else:
            yield picture


def num_outliers(content: bytes) -> int:
    """How many values of a grey picture of 16 bits (PNG, or DICOM without a window) lie beyond the depth that all
    others need, such as burnt-in letters of 65535: they are white, and the others are scaled without them."""
    values: NDArray[Any] | None = None
    with silence(), suppress(UndecodableError):
        match format_of(content[:SNIFF_BYTES]):
            case "PNG" if content[24:26] == b"\x10\0":
                with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                    values = np.asarray(image)
            case "DICOM":
                from fedthorax.common.pixels.dicom_pixels import range_of_values

                values = range_of_values(content)
    if values is None or values.max() >= 2**16:
        return 0
    return int(np.count_nonzero(values > depth_of(values)))


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins with ``head`` (``SNIFF_BYTES`` or all of it); None if it is no known image."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if begins_like_dicom(head[:HEAD_BYTES]):
        return "DICOM"
    return "NIfTI" if begins_like_nifti(head[:SNIFF_BYTES]) else None


def _open(
    content: bytes, modality: Modality | None, ct_windows: Sequence[CtWindow]
) -> tuple[int, Callable[[int], NDArray[np.uint8]]]:
    """The number of pictures, and the function that decodes one."""
    match format_of(content[:SNIFF_BYTES]):
        case "PNG" | "JPEG":
            return 1, lambda _: pillow_image.decode_picture(content)
        case "DICOM":
            from fedthorax.common.pixels.dicom_pixels import open_dicom

            return open_dicom(content, modality, ct_windows)
        case "NIfTI":
            from fedthorax.common.pixels.nifti import open_nifti

            return open_nifti(content, modality, ct_windows)
    other = next((name for magic, name in _OTHER_FORMATS if content.startswith(magic)), None)
    if other is None and content[4:8] == b"ftyp":  # ISO 14496-12: a box with the brand
        other = "HEIC, AVIF or film"
    if other is not None:
        raise UndecodableError(
            "unsupported", f"is a {other} file, which is not read; expected PNG, JPEG, DICOM or NIfTI"
        )
    raise UndecodableError(
        "not_an_image",
        "is not an image that can be read: it begins neither like a PNG, JPEG or DICOM nor like a NIfTI file",
    )


def _index(frame: int | None, count: int) -> int:
    if frame is None and count > 1:
        raise UndecodableError("unsupported", f"holds {count} pictures, expected one")
    if frame is not None and not 0 <= frame < count:
        raise UndecodableError("missing", f"holds {count} pictures, so there is no number {frame} counted from 0")
    return frame or 0


def _bad(path: Path, frame: int | None, fault: Fault, error: ValueError) -> BadFile:
    return BadFile(path, str(error), frame, fault)


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
