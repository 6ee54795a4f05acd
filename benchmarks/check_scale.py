"""Time and memory of `fedthorax check`: a real run on some thousand files, and the search for near copies among many.

    python benchmarks/check_scale.py --files 2000 --hashes 10000 100000
    python benchmarks/check_scale.py --files 100000 --side 224 --format jpeg --hashes

The files are drawn (grey, of smooth noise; a label file names two images a patient and 14 findings) and checked twice
by the command itself, in a process of its own: cold, then with everything in the cache. Extrapolated minutes are of one
processor core. For the search, thumbnails are drawn
that vary as real radiographs do: with --data, from the principal components of the radiographs there, else as smooth
noise. One in a hundred has a planted near copy. Each size runs in a process of its own; memory is the peak of that.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from fedthorax.common.check.counts import counts
from fedthorax.common.check.facts import ImageFacts
from fedthorax.common.check.neighbours import near_duplicate_issues, near_pictures, neighbour_issues
from fedthorax.common.check.shortcuts import shortcuts
from fedthorax.common.check.suspects import suspect_issues
from fedthorax.common.hospital.copies import duplicate_issues, patient_issues, same_pictures
from fedthorax.common.hospital.labelled import LabelledImage
from fedthorax.common.pixels.decode import decode_image
from fedthorax.common.pixels.perceptual_hash import (
    HASH_BYTES,
    SIDE,
    as_rows,
    near_pairs,
    perceptual_hash,
    signature,
)
from fedthorax.common.records.listing import list_images
from fedthorax.common.records.records import SPLITS, ImageRef

COMPONENTS = 200
FACTS = ImageFacts(
    "",
    1024,
    1024,
    "PNG",
    "L",
    8,
    100.0,
    250,
    0.0,
    9.0,
    0.0,
    0.0,
    1.0,
    1,
    (0.8, 0.1, -0.2, 0.1),
    0.9,
    b"",
    b"",
    bytes(16),
)


def smooth(rng: np.random.Generator, side: int, grains: int) -> np.ndarray:
    noise = Image.fromarray(rng.normal(0, 1, (grains, grains)).astype(np.float32))
    return np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC))


def draw_files(folder: Path, number: int, side: int, form: str) -> None:
    """``number`` images in folders of a thousand, and labels.csv beside them."""

    def draw(index: int) -> str:
        rng = np.random.default_rng(index)
        picture = 128 + 30 * smooth(rng, side, 8) + 15 * smooth(rng, side, 64) + rng.normal(0, 3, (side, side))
        name = f"{index // 1000:03}/{index:06}.{form}"
        image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
        image.save(folder / name, **({"compress_level": 1} if form == "png" else {"quality": 90}))
        return ",".join([name, f"p{index // 2}", *map(str, (rng.random(14) < 0.1).astype(int))])

    for thousand in range((number + 999) // 1000):
        (folder / f"{thousand:03}").mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(draw, range(number)))
    header = ",".join(["file", "patient_id", *(f"finding {place}" for place in range(14))])
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")


def run_check(folder: Path, cache: Path) -> float:
    """Seconds of processor time, which other work on the machine does not change."""
    command = [sys.executable, "-m", "fedthorax.cli.main", "check", str(folder), "--json", "--cache", str(cache)]
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):  # 2: errors in the data, such as copies
        raise SystemExit(done.stderr)
    output = done.stdout
    seconds = time.monotonic() - started
    decoded = json.loads(output)["sites"][0]["images_decoded"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"  {decoded} images decoded: {seconds:.1f} s, {processor:.1f} s of processor time; "
        f"largest memory so far {after.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )
    return processor


def thumbnails(number: int, data: Path | None) -> np.ndarray:
    """(N, SIDE, SIDE) float32; the last hundredth are near copies of the first."""
    rng = np.random.default_rng(0)
    num_copies = number // 100
    if data is None:
        drawn = np.stack([smooth(rng, SIDE, 12) for _ in range(number - num_copies)])
    else:
        real = np.stack([small(path) for name in ("nih-224", "hannover-224") for path in images(data / name)])
        mean = real.mean(axis=0)
        _, scales, components = np.linalg.svd(real - mean, full_matrices=False)
        scales = scales[:COMPONENTS] / np.sqrt(len(real))
        weights = rng.normal(0, 1, (number - num_copies, COMPONENTS)).astype(np.float32) * scales
        drawn = (weights @ components[:COMPONENTS] + mean).reshape(-1, SIDE, SIDE)
    noise = rng.normal(0, 0.01 * drawn.std(), (num_copies, SIDE, SIDE)).astype(np.float32)
    return np.concatenate([drawn, drawn[:num_copies] * np.float32(0.9) + noise]).astype(np.float32)


def images(folder: Path) -> list[Path]:
    return list(list_images(folder).images.values())


def small(path: Path) -> np.ndarray:
    grey = Image.fromarray(decode_image(path)).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32).ravel()


def draw_hashes(number: int, data: Path | None, file: Path) -> None:
    marks = [signature(thumbnail) for thumbnail in thumbnails(number, data)]
    hashes = as_rows([perceptual_hash(mark) for mark in marks], HASH_BYTES)
    np.savez(file, hashes=hashes, signatures=as_rows([mark.tobytes() for mark in marks], SIDE * SIDE))


def largest_memory() -> float:
    """Peak resident memory of this process in MiB; getrusage would count that of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def search(file: Path) -> None:
    with np.load(file) as drawn:
        hashes, signatures = drawn["hashes"], drawn["signatures"]
    number, num_copies = len(hashes), len(hashes) // 100
    before = largest_memory()
    started, processor = time.monotonic(), time.process_time()
    found = near_pairs(hashes, signatures)
    seconds, processor = time.monotonic() - started, time.process_time() - processor
    peak = largest_memory()
    hits = {(row, number - num_copies + row) for row in range(num_copies)} & set(map(tuple, found.tolist()))
    print(
        f"  {number:,} hashes: {seconds:.1f} s, {processor:.1f} s of processor time; {len(hits)} of {num_copies} "
        f"planted copies found and {len(found) - len(hits)} other pairs, of {number * (number - 1) // 2:,}; memory "
        f"{before:.0f} MiB before, {peak:.0f} MiB at most",
        flush=True,
    )


def after_reading(file: Path) -> None:
    """All that the check asks once the images are read: duplicates, near copies, suspects, shortcuts, counts."""
    with np.load(file) as drawn:
        hashes, signatures = drawn["hashes"], drawn["signatures"]
    held, facts = [], {}
    for row, (mark, thumbnail) in enumerate(zip(hashes, signatures, strict=True)):
        ref = ImageRef(Path(f"images/{row:06}.png"))
        labels = tuple(float((row * 7 + place) % 9 == 0) for place in range(14))
        held.append(LabelledImage("xray", ref, f"images/{row:06}.png", f"p{row // 2}", labels, SPLITS[row // 2 % 3]))
        facts[ref] = replace(
            FACTS,
            digest=str(row),
            mean_grey=float(thumbnail[0]),
            hash=mark.tobytes(),
            signature=thumbnail.tobytes(),
            greys=bytes(range(0, 160, 10)),
        )
    del hashes, signatures
    started, processor = time.monotonic(), time.process_time()
    groups = same_pictures(held, {ref: fact.digest for ref, fact in facts.items()})
    issues = duplicate_issues(groups) + near_duplicate_issues(near_pictures(held, facts)) + patient_issues(held)
    issues += suspect_issues(held, facts) + neighbour_issues(held, facts)
    names = {"xray": [f"finding {place}" for place in range(14)]}
    found, numbers = shortcuts(held, facts, names), counts(held, facts, names)
    print(
        f"  {len(held):,} X-rays, everything after the reading: {time.monotonic() - started:.1f} s, "
        f"{time.process_time() - processor:.1f} s of processor time; {len(issues)} findings, {len(found)} shortcuts, "
        f"{numbers['xray']['images']:,} counted; memory {largest_memory():.0f} MiB at most",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="Files of the real run; 0: none.")
    parser.add_argument("--side", type=int, default=1024, help="Pixels of a side of each file.")
    parser.add_argument("--format", choices=("png", "jpeg"), default="png", help="Of the files.")
    parser.add_argument("--folder", type=Path, help="Where the files are drawn and removed again; default: /tmp.")
    parser.add_argument("--hashes", type=int, nargs="*", default=[10_000, 100_000], help="Sizes of the search.")
    parser.add_argument("--data", type=Path, help="Folder with nih-224 and hannover-224.")
    parser.add_argument("--search-only", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--after-reading", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.search_only:
        search(options.search_only)
        return
    if options.after_reading:
        after_reading(options.after_reading)
        return
    if options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
            folder = Path(temporary)
            draw_files(folder / "images", options.files, options.side, options.format)
            size = sum(path.stat().st_size for path in list_images(folder / "images").images.values())
            print(f"{options.files:,} {options.format} files of {options.side} x {options.side}, {size >> 20} MiB:")
            for words in ("cold", "warm"):
                processor = run_check(folder / "images", folder / "cache")
                print(f"  extrapolated to 100,000 files, {words}: {processor / options.files * 1e5 / 60:.0f} minutes")
    print("search for near copies:", flush=True)
    for number in options.hashes:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "hashes.npz"
            draw_hashes(number, options.data, file)
            for step in ("--search-only", "--after-reading"):
                subprocess.run([sys.executable, __file__, step, str(file)], check=True)


if __name__ == "__main__":
    main()
