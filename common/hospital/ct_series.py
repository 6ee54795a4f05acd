"""From the files of a CT folder to its axial slices, in the order in which they lie in the body."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from fedthorax.common.config.data import CtSlices
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.ground.silence import silence
from fedthorax.common.pixels.ct_region import height_of, lung_share, not_axial, not_wanted
from fedthorax.common.pixels.decode import SNIFF_BYTES, format_of, read_content
from fedthorax.common.pixels.dicom_pixels import open_dicom_units
from fedthorax.common.pixels.hounsfield import looked_at, not_hounsfield
from fedthorax.common.pixels.nifti import open_nifti_units, read_volume
from fedthorax.common.pixels.undecodable import UndecodableError
from fedthorax.common.records.dicom_header import Header, read_header
from fedthorax.common.records.records import BadFile, ImageRef

_PLAIN_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class CtSlice:
    """``name`` is the file's in the listing. ``header`` is None for anything but DICOM, ``height`` (millimetres, rising
    to the head) where the file does not say where it lies.
    """

    name: str
    image: ImageRef
    header: Header | None = None
    height: float | None = None


@dataclass(frozen=True)
class FoundSlices:
    """``left_out`` are good files that are no axial chest CT slice, each with its reason; ``dropped`` counts slices
    that the policy passes over.
    """

    slices: tuple[CtSlice, ...]
    left_out: tuple[BadFile, ...]
    bad: tuple[BadFile, ...]
    dropped: int


def find_slices(images: Mapping[str, Path], policy: CtSlices) -> FoundSlices:
    """The slices in ``images`` (path by name, as listed).

    A DICOM series whose values are no Hounsfield units is bad as a whole; of a volume decoding finds it out.

    PNG and JPEG files are slices as they are. DICOM files of one series in one folder, and the slices of a NIfTI
    volume, are ordered from the feet to the head, and ``policy`` holds for each series. Scout views, reformats that are
    not axial, projections, other parts of the body and other modalities are left out. A DICOM file whose header cannot
    be read stays in, so that decoding names its fault.
    """
    bad: list[BadFile] = []
    left_out: list[BadFile] = []
    series: dict[tuple[str, str], list[CtSlice]] = {}
    with ThreadPoolExecutor(max_workers=num_cpus(), thread_name_prefix="headers") as pool:
        found = pool.map(_slices_of, images, images.values())
        for name, slices in zip(images, found, strict=True):
            if isinstance(slices, BadFile):
                (left_out if slices.fault in ("not_used", "other_modality") else bad).append(slices)
                continue
            for slice_ in slices:
                place = not_axial(slice_.header.places[slice_.image.frame or 0]) if slice_.header else None
                if place is not None:
                    left_out.append(BadFile(slice_.image.path, place, slice_.image.frame, "not_used"))
                    continue
                series.setdefault(_series_of(name, slice_), []).append(slice_)
        chosen: list[CtSlice] = []
        dropped = 0
        in_order = [_in_order(slices) for slices in series.values()]
        parts = [part for slices in in_order for part in _by_scale(slices)]
        raw = set[ImageRef]()
        for part, reason in zip(parts, pool.map(_not_hounsfield, parts), strict=True):
            if reason:
                words = f"is stored as CT but holds no Hounsfield units: by the values of its series {reason}"
                bad += [BadFile(s.image.path, words, s.image.frame, "other_scale") for s in part]
                raw |= {slice_.image for slice_ in part}
        for slices in in_order:
            ordered = [slice_ for slice_ in slices if slice_.image not in raw]
            kept = _apply(ordered, policy, pool) if ordered else []
            dropped += len(ordered) - len(kept)
            chosen += kept
    return FoundSlices(tuple(chosen), tuple(left_out), tuple(bad), dropped)


def _slices_of(name: str, path: Path) -> list[CtSlice] | BadFile:
    lower = name.lower()
    if lower.endswith(_PLAIN_ENDINGS):
        return [CtSlice(name, ImageRef(path))]
    if lower.endswith((".nii", ".nii.gz")):
        try:
            heights = read_volume(path).heights
        except UndecodableError as error:
            return BadFile(path, str(error), fault=error.fault)
        except OSError:
            return [CtSlice(name, ImageRef(path))]
        return [CtSlice(name, ImageRef(path, frame), None, height) for frame, height in enumerate(heights)]
    header = read_header(path)
    if header is None or header.cut_off:
        return [CtSlice(name, ImageRef(path))]
    reason = not_wanted(header)
    if reason is not None:
        return BadFile(path, reason, fault="not_used")
    if len(header.places) == 1:
        return [CtSlice(name, ImageRef(path), header, _height(header, 0))]
    return [CtSlice(name, ImageRef(path, n), header, _height(header, n)) for n in range(len(header.places))]


def _height(header: Header, frame: int) -> float | None:
    height = height_of(header.places[frame])
    return header.slice_location if height is None else height


def _by_scale(slices: Sequence[CtSlice]) -> list[list[CtSlice]]:
    """The parts of a series that share slope and intercept: an export may forget them in some files."""
    parts: dict[object, list[CtSlice]] = {}
    for slice_ in slices:
        parts.setdefault(slice_.header and slice_.header.rescale, []).append(slice_)
    return list(parts.values())


def _not_hounsfield(slices: Sequence[CtSlice]) -> str | None:
    """Why DICOM slices of one scale hold no Hounsfield units. What cannot be decoded is passed over, to be named."""
    if slices[0].header is None:
        return None
    asked = (units for n in looked_at(len(slices)) for units in _units_of([slices[n]]) if units is not None)
    return not_hounsfield(asked)


def _series_of(name: str, slice_: CtSlice) -> tuple[str, str]:
    """Of PNG, JPEG and unreadable files, and of DICOM files without a series, each is one of its own."""
    if slice_.header is not None and slice_.header.series:
        return str(PurePosixPath(name).parent), slice_.header.series
    return name, ""


def _in_order(slices: Sequence[CtSlice]) -> list[CtSlice]:
    """By height; by instance number where the height is not known, as it then is for the whole series."""
    if any(slice_.height is None for slice_ in slices):
        numbers = [slice_.header.instance_number if slice_.header else None for slice_ in slices]
        order = sorted(range(len(slices)), key=lambda n: (numbers[n] is None, numbers[n] or 0, slices[n].name))
        return [slices[n] for n in order]
    return sorted(slices, key=lambda slice_: (slice_.height, slice_.name, slice_.image.frame or 0))


def _apply(slices: list[CtSlice], policy: CtSlices, pool: ThreadPoolExecutor) -> list[CtSlice]:
    """The policy on one series in order; a file by itself, of which nothing is known, is always used."""
    if slices[0].header is None and slices[0].height is None:
        return slices
    last = len(slices) - 1
    low, high = policy.between
    kept = [s for n, s in enumerate(slices) if last == 0 or low <= n / last <= high]
    if policy.between_mm is not None:
        bottom, top = policy.between_mm
        kept = [s for s in kept if s.height is None or bottom <= s.height <= top]
    if policy.min_lung_share > 0:
        by_file: dict[Path, list[CtSlice]] = {}
        for slice_ in kept:
            by_file.setdefault(slice_.image.path, []).append(slice_)
        shares = [share for part in pool.map(_lung_shares, by_file.values()) for share in part]
        ordered = [slice_ for part in by_file.values() for slice_ in part]
        # What cannot be decoded stays in, so that it is named.
        enough = {
            s.image for s, share in zip(ordered, shares, strict=True) if share is None or share >= policy.min_lung_share
        }
        kept = [s for s in kept if s.image in enough]
    kept = kept[:: policy.every]
    if policy.most is None or len(kept) <= policy.most:
        return kept
    # The middles of equal parts: ends of the lungs show least.
    return [kept[(2 * part + 1) * len(kept) // (2 * policy.most)] for part in range(policy.most)]


def _lung_shares(slices: Sequence[CtSlice]) -> list[float | None]:
    return [None if units is None else lung_share(units) for units in _units_of(slices)]


def _units_of(slices: Sequence[CtSlice]) -> Iterator[NDArray[Any] | None]:
    """Slices (H, W) of one file in Hounsfield units; None where it cannot be decoded."""
    content = read_content(slices[0].image.path)
    if isinstance(content, BadFile):
        yield from [None] * len(slices)
        return
    try:
        with silence():
            is_volume = format_of(content[:SNIFF_BYTES]) == "NIfTI"
            units = open_nifti_units(content)[1] if is_volume else open_dicom_units(content)
    except UndecodableError:
        yield from [None] * len(slices)
        return
    for slice_ in slices:
        try:
            with silence():
                found = units(slice_.image.frame or 0)
        except UndecodableError:
            yield None
        else:
            yield found
