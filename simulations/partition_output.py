"""The folders that a partition writes: images copied or linked, label files beside them."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from fedthorax.common.ground.new_folder import write_rows
from fedthorax.common.records.labels import split_of
from fedthorax.simulations.partition_input import Slice, Xray, XrayFolder

Link = Literal["copy", "hardlink", "symlink"]


def moves(name: str, xrays: Iterable[Xray], slices: Iterable[Slice]) -> Iterable[tuple[Path, Path]]:
    """(from, to) of every image of a site, to relative to the output folder."""
    site, _, split = name.partition("/")
    for image in xrays:
        yield image.path, Path(site, "xray", image.file)
    for slice_ in slices:
        yield slice_.path, Path(site, "ct", _ct_file(slice_, split))


def _ct_file(slice_: Slice, split: str) -> str:
    """Slices of a patient held out lie below the central split, whatever split their folder had."""
    if not split:
        return slice_.file
    parts = Path(slice_.file).parts
    return "/".join((split, *parts[1 if split_of(parts[0]) else 0 :]))


def put(source: Path, target: Path, link: Link) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or target.is_symlink():
        raise ValueError(f"{source} would be written over another image of the same name, {target.name}; rename one")
    if link == "symlink":
        target.symlink_to(source.resolve())
        return
    if link == "hardlink":
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)  # another device, or a file system without hard links
        return
    shutil.copyfile(source, target)


def write_labels(out: Path, xray: XrayFolder, xrays_at: Mapping[str, Sequence[Xray]]) -> None:
    """One labels.csv a hospital, and one for both central splits, whose split column wins over the input's."""
    rows_at: dict[str, list[Mapping[str, str]]] = {}
    for name, images in xrays_at.items():
        site, _, split = name.partition("/")
        rows = rows_at.setdefault(site, [])
        rows += [{**image.row, "split": split} if split else image.row for image in images]
    for site, rows in rows_at.items():
        if xray.columns:
            columns = [*xray.columns, "split"] if site == "central" and "split" not in xray.columns else xray.columns
            write_rows(out / site / "xray/labels.csv", columns, rows)


def write_slices(out: Path, slices_at: Mapping[str, Sequence[Slice]]) -> None:
    rows_at: dict[str, list[Mapping[str, str]]] = {}
    for name, slices in slices_at.items():
        site, _, split = name.partition("/")
        rows_at.setdefault(site, []).extend(
            {"file": _ct_file(slice_, split), "patient_id": slice_.patient if slice_.identified else ""}
            | ({"class": slice_.cancer_class} if slice_.labelled else {})
            | dict(slice_.known)
            | ({"split": split} if split else {})
            for slice_ in slices
            if slice_.identified or slice_.labelled or slice_.known
        )
    for site, rows in rows_at.items():
        if rows:
            columns = dict.fromkeys(name for row in rows for name in row)
            write_rows(out / site / "ct/slices.csv", [*columns], rows)
