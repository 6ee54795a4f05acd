"""Seven hospitals that differ as real ones do, from five public collections, for configs/natural.yaml.

    make natural && fedthorax check configs/natural.yaml

Each collection is dealt out by patient as `fedthorax partition` does it; what is held out of all of them is put
together into one folder of the server, where a label that a collection does not have stays empty: unknown, not absent.
"""

import argparse
import csv
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from fedthorax.simulations.partition import PartitionPlan, partition

OTHER, CENTRAL = 0.1, 0.2  # shares of the patients for central validation and test
Rows = list[dict[str, str]]


def plans(real: Path) -> Mapping[str, dict[str, Any]]:
    """By collection how it is dealt out, where not as the others. A patient of `nih-128` goes to the ward that took
    most of his pictures: at the bed from the front, or standing from behind."""
    kaggle, lidc = real / "ct-kaggle", real / "lidc-ct-128"
    return {
        "nih": {"xray": real / "nih-128", "column": "view", "column_most": True},
        "kermany": {"xray": real / "kermany-224", "hospitals": ("guangzhou",)},
        "rsna": {"xray": real / "rsna-224", "hospitals": ("radiologists",)},
        "lidc": {"ct": lidc, "ct_labels": lidc / "labels.csv", "hospitals": ("screening",)},
        # This collection knows no patients and has its own split. The small hospital has X-rays of its own too.
        "kaggle": {"ct": kaggle / "train", "ct_valid": kaggle / "valid", "ct_test": kaggle / "test"}
        | {"sizes": (3, 1), "hospitals": ("oncology", "small"), "holdout_valid": 0, "holdout_test": 0},
        "nih-more": {"xray": real / "nih-224-more", "hospitals": ("small",), "holdout_valid": 0, "holdout_test": 0},
    }


NAMES = {"AP": "bedside", "PA": "outpatients"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--real", type=Path, required=True, help="the folder of the collections")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    if out.exists():
        raise SystemExit(f"error: {out} is there already; remove it, or name another folder")
    rows: dict[str, Rows] = {"xray/labels.csv": [], "ct/slices.csv": []}
    for name, plan in plans(arguments.real.absolute()).items():
        held = {"holdout_valid": OTHER, "holdout_test": CENTRAL} | plan
        dealt = out / ".dealt" / name
        partition(PartitionPlan(out=dealt, link="symlink", seed=arguments.seed, **held))
        if name == "kaggle":
            print(f"{without_copies(dealt)} copies of CT slices left out")
        for place in sorted(dealt.iterdir()):
            if place.name == "central":
                for table, found in rows.items():
                    found += taken(place, Path(table), name)
                    (place / table).unlink(missing_ok=True)
                    move(place / Path(table).parent, out / "central" / Path(table).parent / name)
            elif place.is_dir():
                for modality in ("xray", "ct"):
                    move(place / modality, out / NAMES.get(place.name, place.name) / modality)
    for table, found in rows.items():
        columns = dict.fromkeys(column for row in found for column in row)
        with (out / "central" / table).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, [*columns], restval="")
            writer.writeheader()
            writer.writerows(found)
    shutil.rmtree(out / ".dealt")


def taken(central: Path, table: Path, name: str) -> Rows:
    """The rows of a collection's central table, its files and patients named for the collection."""
    file = central / table
    if not file.is_file():
        return [
            {"file": f"{name}/{path.relative_to(central / table.parent)}", "class": path.parent.name}
            | {"split": path.relative_to(central / table.parent).parts[0]}
            for path in sorted((central / table.parent).rglob("*.*"))
            if table.parent.name == "ct" and path.is_file()
        ]
    with file.open(newline="") as stream:
        return [row | {"file": f"{name}/{row['file']}"} for row in csv.DictReader(stream)]


def without_copies(dealt: Path) -> int:
    """Leave out what shows the same as a slice before it, the central test first; how many those were."""
    seen, left_out = set[str](), 0
    files = [path for path in dealt.rglob("*") if path.is_file() and "ct" in path.parts]
    for path in sorted(files, key=lambda path: ("test" not in path.parts, "valid" not in path.parts, path)):
        with Image.open(path) as picture:
            shown = hashlib.sha256(f"{picture.size}".encode() + picture.convert("RGB").tobytes()).hexdigest()
        if shown in seen:
            path.unlink()
            left_out += 1
        seen.add(shown)
    return left_out


def move(source: Path, target: Path) -> None:
    if source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


if __name__ == "__main__":
    main()
