"""CPU time and memory to read label files of the public collections' sizes; the rows are made up.

    python benchmarks/label_files.py

Each file is read in a process of its own, so that the peak memory is its own.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fedthorax.common.records.labels import read_labels
from fedthorax.common.records.layouts import NIH_FINDINGS

FINDINGS = sorted(NIH_FINDINGS)
NIH_IMAGES, CHEXPERT_IMAGES, MIMIC_IMAGES, MIMIC_STUDIES = 112_120, 223_414, 377_110, 227_827


def write_nih(folder: Path) -> list[Path]:
    draw = random.Random(0)
    rows = (
        f"{number:08d}_000.png,{'|'.join(draw.sample(FINDINGS, 2)) if number % 2 else 'No Finding'},{number // 4},"
        f"{number % 90:03d}Y,{'MF'[number % 2]},PA"
        for number in range(NIH_IMAGES)
    )
    header = "Image Index,Finding Labels,Patient ID,Patient Age,Patient Gender,View Position"
    return [write(folder / "nih.csv", header, rows)]


def write_chexpert(folder: Path) -> list[Path]:
    draw = random.Random(0)
    rows = (
        f"CheXpert-v1.0/train/patient{number // 4:05d}/study1/view{number % 4}_frontal.jpg,Female,60,Frontal,AP,,"
        + ",".join(draw.choices(("", "1.0", "0.0", "-1.0"), k=len(FINDINGS)))
        for number in range(CHEXPERT_IMAGES)
    )
    header = "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding," + ",".join(FINDINGS)
    return [write(folder / "chexpert.csv", header, rows)]


def write_mimic(folder: Path) -> list[Path]:
    draw = random.Random(0)
    labels = (
        f"{study // 3},{study}," + ",".join(draw.choices(("", "1.0", "0.0", "-1.0"), k=len(FINDINGS)))
        for study in range(MIMIC_STUDIES)
    )
    studies = [number * MIMIC_STUDIES // MIMIC_IMAGES for number in range(MIMIC_IMAGES)]
    images = (f"image{number},{study // 3},{study},PA" for number, study in enumerate(studies))
    splits = (f"image{number},{study},{study // 3},train" for number, study in enumerate(studies))
    return [
        write(folder / "mimic.csv", "subject_id,study_id," + ",".join(FINDINGS), labels),
        write(folder / "metadata.csv", "dicom_id,subject_id,study_id,ViewPosition", images),
        write(folder / "split.csv", "dicom_id,study_id,subject_id,split", splits),
    ]


def write(path: Path, header: str, rows: Iterator[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


WRITERS = {"nih": write_nih, "chexpert": write_chexpert, "mimic": write_mimic}


def measure(paths: list[Path]) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    table = read_labels(paths[0], "auto", FINDINGS, None, paths[1:])
    return {
        "rows": len(table.rows),
        "seconds": time.process_time() - start,
        "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="read these and print one JSON object")
    files = parser.parse_args().files
    if files:
        print(json.dumps(measure(files)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, writer in WRITERS.items():
            paths = writer(Path(folder))
            command = [sys.executable, __file__, *map(str, paths)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{name:10} {result['rows']:8,} images  {result['seconds']:5.1f} CPU s  {result['mb']:6.0f} MB")


if __name__ == "__main__":
    main()
