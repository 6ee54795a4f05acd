"""Many small pictures on one: what the model will see of a folder."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fedthorax.common.config.data import CT_WINDOWS, CtSlices, CtWindow
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels.decode import Modality, fit_square, try_decode
from fedthorax.common.records.body_region import no_chest_radiograph
from fedthorax.common.records.dicom_header import read_header
from fedthorax.common.records.listing import list_images
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import BadFile, ImageRef

_GAP = 6
_BACKGROUND = (24, 24, 27)
_TEXT = (228, 228, 231)
_REFUSED = (69, 26, 26)
_NAME_LINES = 2


@dataclass(frozen=True)
class Tile:
    """``picture`` is uint8 (S, S, 3), or the reason why there is none."""

    name: str
    picture: NDArray[np.uint8] | str


@dataclass(frozen=True)
class Looked:
    """The pictures ``tiles``, of ``total`` in the folder."""

    tiles: tuple[Tile, ...]
    total: int


def look_at(
    folder: Path,
    modality: Literal["auto", "xray", "ct"],
    size: int,
    aspect: Literal["pad", "squash"],
    limit: int,
    ct_windows: Sequence[CtWindow] = CT_WINDOWS,
    policy: CtSlices = CtSlices(),  # noqa: B008  it is frozen
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Looked:
    """The pictures in ``folder`` (or the one file) decoded and resized as for training, in order; of more than
    ``limit`` every n-th.

    ``ct``: the slices that a CT folder would give, and what it would leave out, with the reason. ``xray``: every file
    as an X-ray. ``auto``: DICOM files of CT and NIfTI volumes as the one, all others as the other.
    """
    images = list_images(folder).images if not folder.is_file() else {folder.name: folder}
    slices = {name: path for name, path in images.items() if modality == "ct" or (modality == "auto" and _is_ct(path))}
    found = find_slices(slices, policy)
    names, of_ct = {path: name for name, path in images.items()}, set(slices.values())
    wanted: list[ImageRef | BadFile] = [slice_.image for slice_ in found.slices]
    header_of = headers([path for name, path in images.items() if name not in slices])
    wanted += [
        BadFile(path, reason)
        if (header := header_of.get(path)) and (reason := no_chest_radiograph(header))
        else ImageRef(path)
        for name, path in images.items()
        if name not in slices
    ]
    order = {path: number for number, path in enumerate(images.values())}
    wanted += [*found.left_out, *found.bad]
    if modality == "auto":  # Slices stay in the order of their series.
        wanted.sort(key=lambda item: order[item.path] if item.path not in of_ct else -1)
    chosen = [wanted[round(n)] for n in np.linspace(0, len(wanted) - 1, min(limit, len(wanted)))]

    def tile(item: ImageRef | BadFile) -> Tile:
        mark = "" if item.frame is None else f" #{item.frame}"
        # As the check does, so that what a run refuses is not shown as if it were taken.
        expected: Modality = modality if modality != "auto" else "ct" if item.path in of_ct else "xray"
        seen = try_decode(item, expected, ct_windows) if isinstance(item, ImageRef) else item
        picture = seen.reason if isinstance(seen, BadFile) else fit_square(seen, size, aspect)
        return Tile(names[item.path] + mark, picture)

    tiles = []
    with ThreadPoolExecutor(max_workers=num_cpus(), thread_name_prefix="look") as pool:
        for done, made in enumerate(pool.map(tile, chosen), start=1):
            tiles.append(made)
            progress(done, len(chosen))
    return Looked(tuple(tiles), len(wanted))


def draw_sheet(tiles: Sequence[Tile], size: int, columns: int) -> bytes:
    """A PNG file of ``tiles`` in rows of ``columns``, each with its name below; its reason stands for a picture."""
    font = ImageFont.load_default(max(9, min(14, size // 14)))
    _, top, _, bottom = font.getbbox("Ag")
    line = int(bottom - top) + 4
    columns = min(columns, len(tiles)) or 1
    rows = -(-len(tiles) // columns)
    width, height = size + _GAP, size + _NAME_LINES * line + _GAP
    sheet = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)

    def write(text: str, left: int, upper: int, room: int, most: int) -> None:
        for place, part in enumerate(_lines(text, lambda letters: font.getlength(letters) <= room, most)):
            draw.text((left, upper + place * line), part, _TEXT, font)

    for number, tile in enumerate(tiles):
        left, upper = _GAP + number % columns * width, _GAP + number // columns * height
        if isinstance(tile.picture, str):
            draw.rectangle((left, upper, left + size - 1, upper + size - 1), _REFUSED)
            write(tile.picture, left + 4, upper + 4, size - 8, (size - 8) // line)
        else:
            sheet.paste(Image.fromarray(tile.picture), (left, upper))
        write(tile.name, left, upper + size + 1, size, _NAME_LINES)
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _is_ct(path: Path) -> bool:
    if path.name.lower().endswith((".nii", ".nii.gz")):
        return True
    header = None if path.suffix.lower() in (".png", ".jpg", ".jpeg") else read_header(path)
    return header is not None and header.modality == "CT"


def _lines(text: str, fits: Callable[[str], bool], most: int) -> list[str]:
    """``text`` in at most ``most`` lines that fit, broken at spaces where there are any. Of a text too long for it the
    middle is left out: the end of a file's name tells it apart.
    """
    shown, half = text, len(text) // 2
    while True:
        lines: list[str] = []
        rest = shown
        while rest and len(lines) <= most:
            count = 1
            while count < len(rest) and fits(rest[: count + 1]):
                count += 1
            if count < len(rest) and (space := rest.rfind(" ", 1, count + 1)) > 0:
                count = space
            lines.append(rest[:count])
            rest = rest[count:].lstrip()
        if (not rest and len(lines) <= most) or half < 2:
            return lines[:most]
        half = min(half - 1, most * max(len(line) for line in lines)) if half * 2 >= len(text) - 1 else half - 1
        shown = f"{text[:half].rstrip('.')}...{text[-half:].lstrip('.')}"
