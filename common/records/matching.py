"""From what a table calls an image to the file that is meant; and why there may be none."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from fedthorax.common.config.label_mapping import Match
from fedthorax.common.records.listing import Listing, normal_name
from fedthorax.common.records.records import BadFile
from fedthorax.common.records.table import Row, Table, listed

# What a table may write where the file was converted since; a UID's last part is no ending.
_MOST_LINES = 5
_ENDING = re.compile(r"\.(png|jpe?g|dcm|dicom|nii(\.gz)?|tiff?|bmp)$", re.IGNORECASE)


def relative_file(table: Table, row: Row, column: str, folder: str, match: Match) -> str:
    """The cell as a path with forward slashes; ValueError where it is none inside the folder, of which the name is
    enough unless ``match`` is by path."""
    file = row.cells[column].replace("\\", "/").removeprefix("./")
    if not file:
        raise ValueError(f"{table.path}, line {row.line}, column {column}: expected a file name, found nothing")
    if file.startswith("/") or file[1:2] == ":" or ".." in file.split("/"):
        if match != "path":
            return PurePosixPath(file).name
        raise ValueError(
            f"{table.path}, line {row.line}, column {column}: expected a path inside the {folder}, "
            f"found {row.cells[column]!r}; where the file's name is enough, set mapping.match to name"
        )
    return file


def files_of(
    listing: Listing, files: Sequence[str], match: Match, table: Path, first_folder: bool = True
) -> dict[str, Path]:
    """The path of each of ``files``, whether or not it is there.

    Paths are relative to the folder or, failing that, to the table's own; without ``first_folder`` they may begin with
    a folder that is not there, as CheXpert's do. Names are looked for in any depth; ValueError where one lies twice.
    """
    found = {}
    if match == "path":
        for file in files:
            path = listing.images.get(normal_name(file))
            if path is None:
                names = [file] if first_folder else [file, file.partition("/")[2]]
                places = [folder / name for name in names for folder in (listing.folder, table.parent)]
                path = next((place for place in places if place.exists()), places[0])
            found[file] = path
        return found
    by_name: dict[str, list[str]] = {}
    for relative in listing.images:
        by_name.setdefault(_bare(relative, match), []).append(relative)
    for file in files:
        places_of = by_name.get(_bare(normal_name(file), match), [])
        if len(places_of) > 1:
            raise ValueError(
                f"{listing.folder}: {file} lies in several places ({listed(places_of)}); {table.name} names "
                "images without their folder, so each name may occur once"
            )
        found[file] = listing.images[places_of[0]] if places_of else listing.folder / file
    return found


def unmatched(
    listing: Listing,
    table: Path,
    lines: Mapping[str, int],
    match: Match,
    section: str,
    folders: Collection[str] | None = None,
) -> tuple[BadFile, ...]:
    """A bad file for each row without an image, by what it names; where a file, or one of ``folders`` if the rows are
    of these, is nearly called so, with what mends it: ``section`` is where the mapping stands. Equal reasons are equal
    words, so that they can be counted."""
    held, others = (listing.images, listing.others) if folders is None else (folders, ())
    names = Counter(_bare(name, "name") for name in held)
    stems = Counter(_bare(name, "stem") for name in held)
    lower = Counter(_bare(name, "name").lower() for name in held)
    nearly = Counter(_nearly(name) for name in (*held, *others))
    found, gone, thing = [], [], "file" if folders is None else "folder"
    for name in lines:
        last = _bare(name, "name")
        if match == "path" and names[last] == 1:
            why = f"in another folder than {table.name} says: set {section}.match to name"
        elif names[last]:
            why = f"in another folder than {table.name} says: write each with the folder that it lies in"
        elif match != "stem" and stems[_bare(name, "stem")] == 1:
            why = f"with another ending than {table.name} says: set {section}.match to stem"
        elif lower[last.lower()] == 1:
            why = f"but {table.name} writes it with other capitals: write it there as the {thing} is called"
        elif nearly[_nearly(name)] == 1:
            why = (
                f"but {table.name} writes it with other blanks, marks, zeros or endings: write it as the {thing} is "
                "called"
            )
        else:
            gone.append(name)
            continue
        found.append(BadFile(listing.folder / name, f"the {thing} is there, {why}", fault="missing"))
    where = listed([str(lines[name]) for name in gone], _MOST_LINES)
    reason = f"stands in {table.name}, line{'s' * (len(gone) > 1)} {where}, but does not exist"
    return (*found, *(BadFile(listing.folder / name, reason, fault="missing") for name in gone))


def _nearly(name: str) -> str:
    """A name by its letters and numbers only: without endings, ``%20``, quotes, blanks, dashes, leading zeros."""
    last = unicodedata.normalize("NFKC", _bare(unquote(name), "name")).casefold().strip(" '\".")
    while (stem := _ENDING.sub("", last)) != last:
        last = stem.strip(" '\".")
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[^\w.]|_", "", re.sub(r"\.0$", "", last)))


def _bare(name: str, match: Match) -> str:
    last = PurePosixPath(name).name
    return _ENDING.sub("", last) if match == "stem" else last
