"""NIfTI volumes: one file, many axial slices (https://nifti.nimh.nih.gov/nifti-1)."""

import gzip
import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CtWindow
from fedthorax.common.pixels.dicom_pixels import square_pixels
from fedthorax.common.pixels.hounsfield import AIR, looked_at, not_hounsfield, windowed
from fedthorax.common.pixels.undecodable import UndecodableError

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348

_LARGEST = 4 << 30  # bytes of voxels: 512 x 512 x 2000 slices in 64 bits

_MOST_AFTER = 64  # MiB behind the voxels


@dataclass(frozen=True)
class Volume:
    """``heights`` of the slices in millimetres, from the feet to the head; ``axes`` and ``flips`` say which axis of
    the file, read backwards or not, runs to the patient's left, back and head.
    """

    shape: tuple[int, int, int]
    heights: tuple[float, ...]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    zooms: tuple[float, float, float]
    header: Any


def begins_like_nifti(head: bytes) -> bool:
    """Whether a file that begins with ``head`` (a few hundred bytes) is a NIfTI file, packed with gzip or not."""
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(31).decompress(head, _HEADER_BYTES)
        except zlib.error:
            return False
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def read_volume(path: Path) -> Volume:
    """What the header of the file says. Raises OSError, or UndecodableError."""
    with path.open("rb") as stream:
        return _volume(_unpacked(stream, _HEADER_BYTES))


def open_nifti(
    content: bytes, modality: Literal["xray", "ct"] | None, ct_windows: Sequence[CtWindow]
) -> tuple[int, Callable[[int], NDArray[np.uint8]]]:
    """The number of axial slices in the bytes of a NIfTI file, and the function that decodes one as uint8 (H, W, 3).

    Slice 0 is the lowest. The patient's left is on the right and the back below, as in an axial DICOM slice. Values
    have to be Hounsfield units. Raises UndecodableError.
    """
    if modality == "xray":
        raise UndecodableError("other_modality", "is a NIfTI volume, expected an X-ray")
    volume, units = open_nifti_units(content)
    width, height = volume.zooms[:2]
    return len(volume.heights), lambda frame: square_pixels(windowed(units(frame), ct_windows), height, width)


def open_nifti_units(content: bytes) -> tuple[Volume, Callable[[int], NDArray[Any]]]:
    """What the header says, and the function that gives a slice (H, W) in Hounsfield units. Raises UndecodableError."""
    volume = _volume(_unpacked(io.BytesIO(content), _HEADER_BYTES))
    header = volume.header
    dtype, offset = header.get_data_dtype(), int(header["vox_offset"])
    if dtype.kind not in "iuf":
        raise UndecodableError("unsupported", f"is a NIfTI file of {dtype} values, expected one number a voxel")
    if offset < (544 if header["magic"].item()[:3] == b"n+2" else 352):
        raise UndecodableError("truncated", "is damaged: its voxels begin inside its header")
    length = offset + int(np.prod(volume.shape)) * dtype.itemsize
    if length - offset > _LARGEST:
        raise UndecodableError(
            "unsupported", f"holds more than {_LARGEST >> 30} GiB of voxels, far beyond any chest CT"
        )
    unpacked = _unpacked(io.BytesIO(content), length, whole=True)
    if len(unpacked) < length:
        raise UndecodableError("truncated", "is truncated: it begins like a NIfTI file but ends before its last voxel")
    voxels = np.ndarray(volume.shape, dtype, unpacked, offset, order="F")
    slope, intercept = (float(header[name]) for name in ("scl_slope", "scl_inter"))
    if not np.isfinite(slope) or slope == 0:  # NIfTI-1: not scaled
        slope, intercept = 1.0, 0.0
    intercept = intercept if np.isfinite(intercept) else 0.0

    def units(frame: int) -> NDArray[Any]:
        turned = voxels.transpose(volume.axes)
        turned = turned[:: -1 if volume.flips[0] else 1, :: -1 if volume.flips[1] else 1]
        plane = turned[:, :, -1 - frame if volume.flips[2] else frame].T
        scaled = plane if (slope, intercept) == (1.0, 0.0) else plane * np.float64(slope) + intercept
        return np.nan_to_num(scaled, nan=AIR) if scaled.dtype.kind == "f" else scaled

    if reason := not_hounsfield(units(frame) for frame in looked_at(len(volume.heights))):
        raise UndecodableError("unsupported", f"holds no Hounsfield units: by its values {reason}")
    return volume, units


def _volume(head: bytes) -> Volume:
    import nibabel

    damaged = UndecodableError(
        "truncated", "is truncated or damaged: it begins like a NIfTI file but has no whole header"
    )
    second = head[4:8] in (b"n+2\0", b"ni2\0")
    kind, length = (nibabel.Nifti2Header, 540) if second else (nibabel.Nifti1Header, 348)
    if len(head) < length:
        raise damaged
    if b"ni" in (head[344:347][:2], head[4:7][:2]) and b"n+" not in (head[344:346], head[4:6]):
        raise UndecodableError(
            "unsupported", "is one half of a pair of NIfTI files (.hdr and .img); expected one .nii file"
        )
    try:
        header = kind(head[:length], check=False)  # extensions, which follow, may be longer than what was read
        shape = tuple(int(side) for side in header.get_data_shape())
        affine = np.asarray(header.get_best_affine(), np.float64)
        header.get_data_dtype()
        orientation = nibabel.io_orientation(affine)
    except Exception:
        raise damaged from None
    if len(shape) < 3 or any(side != 1 for side in shape[3:]) or min(shape) < 1:
        raise UndecodableError("unsupported", f"is a NIfTI file of {len(shape)} dimensions, expected a volume of 3")
    if np.isnan(orientation).any() or not np.isfinite(affine).all():
        raise damaged
    if not header["qform_code"] and not header["sform_code"]:  # the affine is made up, and right half of the time
        raise UndecodableError(
            "unsupported", "does not say how the patient lies in it (qform_code and sform_code are 0)"
        )
    # nibabel counts to the right, the front and the head; pictures run to the left and the back.
    towards = {int(target): (axis, sign > 0) for axis, (target, sign) in enumerate(orientation)}
    (x, x_right), (y, y_front), (z, z_up) = (towards[target] for target in range(3))
    places = range(shape[z]) if z_up else range(shape[z] - 1, -1, -1)
    heights = tuple(float(affine[2, 3] + affine[2, z] * place) for place in places)
    zooms = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return Volume(
        (shape[0], shape[1], shape[2]),
        heights,
        (x, y, z),
        (x_right, y_front, not z_up),
        (float(zooms[x]), float(zooms[y]), float(zooms[z])),
        header,
    )


def _unpacked(stream: Any, length: int, whole: bool = False) -> bytes:
    """At most the first ``length`` bytes, unpacked where packed: no more, as a few bytes can unpack to a full disk.

    ``whole``: what follows is unpacked too and forgotten, as the checksum stands at the end.
    """
    head = stream.read(2)
    stream.seek(0)
    if head != b"\x1f\x8b":
        return bytes(stream.read(length))
    try:
        with gzip.GzipFile(fileobj=stream) as unpacked:
            found = unpacked.read(length)
            for _ in range(_MOST_AFTER if whole else 0):
                if not unpacked.read(1 << 20):
                    break
            return found
    except (EOFError, zlib.error, gzip.BadGzipFile):  # the last for a wrong checksum too
        raise UndecodableError(
            "truncated", "is truncated or damaged: it is packed with gzip but cannot be unpacked to its end"
        ) from None
