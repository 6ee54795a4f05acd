"""The files below a folder."""

import errno
import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedthorax.common.records.dicom_header import HEAD_BYTES, begins_like_dicom
from fedthorax.common.records.records import BadFile

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom", ".nii", ".nii.gz")
"""Files that a person means as images; DICOM files of any other name are known by how they begin."""

IMAGE_KINDS = "PNG, JPEG, DICOM or NIfTI"


@dataclass(frozen=True)
class Listing:
    """``images`` in any depth, sorted, by their path relative to ``folder``; ``others`` are named the same way.

    ``dead`` are the links that lead nowhere, of which those that are called like images are among these too.
    """

    folder: Path
    images: Mapping[str, Path]
    others: tuple[str, ...]
    dead: Mapping[str, BadFile] = field(default_factory=dict)

    def dead_but(self, used: Collection[Path]) -> tuple[BadFile, ...]:
        """The dead links whose absolute path is not among ``used``."""
        return tuple(link for link in self.dead.values() if link.path.absolute() not in used)


def list_images(folder: Path) -> Listing:
    """All files below ``folder``; links are followed, hidden files and folders left out.

    Images are known by their ending. Scanners name files by numbers, with or without dots, so a file of any other name
    is an image if it begins like DICOM, unless it is the index of a disc (DICOMDIR).

    Raises FileNotFoundError, NotADirectoryError or PermissionError: also a subfolder that may not be read is an error,
    because its images would be missing without a word.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: this folder does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: expected a folder, found a file")
    images: dict[str, Path] = {}
    others: list[str] = []
    dead: dict[str, BadFile] = {}
    for path in _files(folder, frozenset()):
        name = normal_name(path.relative_to(folder).as_posix())
        if link := dead_link(path):
            dead[name] = link
        if is_image(path):
            images[name] = path
        elif link is None:
            others.append(name)
    return Listing(folder, dict(sorted(images.items())), tuple(sorted(others)), dict(sorted(dead.items())))


def dead_link(path: Path) -> BadFile | None:
    """A link whose file is not there; it may have led to a folder of images, on a disk that is not connected."""
    if path.is_symlink():
        try:
            path.stat()
        except FileNotFoundError:
            return BadFile(path, "is a link to a file that does not exist", fault="broken_link")
        except OSError as error:
            if error.errno == errno.ELOOP:
                return BadFile(path, "is a link that leads back to itself", fault="broken_link")
            # Any other, such as a folder that may not be looked into, is told where the file is read.
    return None


def is_image(path: Path) -> bool:
    """Whether ``path`` is meant as an image; it need not be readable as one."""
    if path.name.lower().endswith(IMAGE_ENDINGS):
        return True
    if path.name == "DICOMDIR":
        return False
    try:
        with path.open("rb") as stream:
            return begins_like_dicom(stream.read(HEAD_BYTES))
    except OSError:  # without an ending that tells, and not to be looked into: it is named among the others
        return False


def _files(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    place = os.path.realpath(folder)
    if place in above:  # A link back to a folder above would go round for ever.
        return
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except PermissionError as error:
        raise PermissionError(f"{folder}: this folder may not be read by this user ({error.strerror})") from error
    for entry in visible:
        if _leads_to_folder(entry):
            yield from _files(folder / entry.name, above | {place})
        else:
            yield folder / entry.name


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False  # to be named among the dead links
        raise


def normal_name(name: str) -> str:
    """One spelling of a file name: a letter with an accent can be stored in two ways, and disks differ in it."""
    return unicodedata.normalize("NFC", name)
