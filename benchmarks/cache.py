"""How many pairs a second does the disk cache give, cold and warm, against decoding each time?

    python benchmarks/cache.py --xray ../shared/data/nih-1024 --ct ../shared/data/dicom/ct_chest_nysbu

Each way is measured in turn, several times over, on the same files: ``plain`` decodes without a cache, ``cold`` decodes
into an empty one, ``warm`` finds everything in it, ``one file each`` reads as many squares, each from a file of its own
with its checksum, but without looking for what changed. Every page of the images is touched. Files and cache stay in
the page cache of the system: the disk itself is not measured. Without folders, images are drawn.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from fedthorax.common.config.data import CacheConfig, CtSlices
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels import disk_cache
from fedthorax.common.pixels.cache import decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.listing import list_images
from fedthorax.common.records.records import ImageRef

SIZE = 224

_PAGE = 4096

Sets = Sequence[tuple[Modality, Sequence[ImageRef]]]


def draw(folder: Path, count: int) -> tuple[Path, Path]:
    """Smooth pictures with some noise, as large and as compressible as radiographs and slices."""
    for name, side in (("xray", 1024), ("ct", 512)):
        (folder / name).mkdir()
        rows, columns = np.ogrid[:side, :side]
        for number in range(count):
            random = np.random.default_rng(number)
            down, across = random.uniform(4, 9, size=2) / side
            smooth = 120 + 90 * np.sin(rows * down) * np.cos(columns * across)
            noisy = smooth + random.normal(0, 3, (side, side))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder / "xray", folder / "ct"


def decode(sets: Sets, cache: CacheConfig) -> int:
    """Decodes both modalities and touches every page; the sum is the same whichever way it went."""
    total = 0
    for modality, refs in sets:
        decoded = decode_all(refs, SIZE, "squash", cache, None, modality)
        if decoded.bad:
            raise ValueError(f"{decoded.bad[0].path}: {decoded.bad[0].reason}")
        total += int(decoded.images.reshape(len(refs), -1)[:, ::_PAGE].sum(dtype=np.int64))
    return total


def read_one_file_each(folder: Path, sets: Sets) -> int:
    def read(number: int) -> int:
        content = (folder / str(number)).read_bytes()
        square = np.frombuffer(content, np.uint8, offset=4)
        if disk_cache.checksum(square) != int.from_bytes(content[:4], "little"):
            raise ValueError(f"{folder / str(number)} is damaged")
        return int(square[::_PAGE].sum(dtype=np.int64))

    with ThreadPoolExecutor(num_cpus()) as pool:
        return sum(pool.map(read, range(sum(len(refs) for _, refs in sets))))


def write_one_file_each(folder: Path, sets: Sets) -> None:
    number = 0
    for modality, refs in sets:
        for square in decode_all(refs, SIZE, "squash", CacheConfig(), None, modality).images:
            content = disk_cache.checksum(square).to_bytes(4, "little") + square.tobytes()
            (folder / str(number)).write_bytes(content)
            number += 1


def timed(work: Callable[[], int], expected: set[int]) -> float:
    started = time.perf_counter()
    expected.add(work())
    seconds = time.perf_counter() - started
    if len(expected) != 1:
        raise ValueError("two ways gave different images")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xray", type=Path, help="folder of X-rays")
    parser.add_argument("--ct", type=Path, help="folder of CT slices")
    parser.add_argument("--pairs", type=int, default=128, help="copies fill up where there are fewer images")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        xray, ct = arguments.xray, arguments.ct
        if xray is None or ct is None:
            drawn = draw(folder, min(arguments.pairs, 64))
            xray, ct = xray or drawn[0], ct or drawn[1]
        slices = find_slices(list_images(ct).images, CtSlices()).slices
        sources: dict[Modality, list[Path]] = {
            "xray": list(list_images(xray).images.values()),
            "ct": [slice_.image.path for slice_ in slices],
        }
        # Each file is a copy with a byte of its own behind the picture: equal content would be decoded once only.
        sets: list[tuple[Modality, list[ImageRef]]] = []
        for modality, paths in sources.items():
            refs = []
            for number, path in enumerate(islice(cycle(paths), arguments.pairs)):
                copy = folder / f"{modality}-{number}{path.suffix}"
                copy.write_bytes(path.read_bytes() + (b"" if path.suffix == ".dcm" else number.to_bytes(4, "little")))
                refs.append(ImageRef(copy))
            sets.append((modality, refs))
        disk_cache._SETTLED_SECONDS = -1.0  # the copies are younger than the two seconds that count in use
        single = folder / "single"
        single.mkdir()
        write_one_file_each(single, sets)
        report(sets, folder, single, arguments.pairs, arguments.repeats)


def report(sets: Sets, folder: Path, single: Path, pairs: int, repeats: int) -> None:
    seconds: dict[str, list[float]] = {"plain": [], "cold": [], "warm": [], "one file each": []}
    expected: set[int] = set()
    settings = CacheConfig(folder=folder / "cache")
    for _ in range(repeats):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        seconds["plain"].append(timed(lambda: decode(sets, CacheConfig()), expected))
        seconds["cold"].append(timed(lambda: decode(sets, settings), expected))
        seconds["warm"].append(timed(lambda: decode(sets, settings), expected))
        seconds["one file each"].append(timed(lambda: read_one_file_each(single, sets), expected))
    size = sum(path.stat().st_size for path in (folder / "cache").rglob("*.rgb"))
    print(
        f"{pairs} pairs of {SIZE} x {SIZE}, {num_cpus()} cores, load {os.getloadavg()[0]:.0f}, {size / 2**20:.0f} MiB"
    )
    for way, times in seconds.items():
        ratios = [plain / own for plain, own in zip(seconds["plain"], times, strict=True)]
        print(
            f"{way:>14}: {pairs / statistics.median(times):8.1f} pairs/s, {statistics.median(ratios):6.2f} x plain "
            f"({min(ratios):.2f} to {max(ratios):.2f} in {repeats} repeats)"
        )


if __name__ == "__main__":
    main()
