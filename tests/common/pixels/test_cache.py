"""Decoded images in memory, beyond memory, and on disk."""

import gc
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedthorax.common.config.data import CT_WINDOWS, CacheConfig
from fedthorax.common.pixels import cache, disk_cache
from fedthorax.common.pixels.cache import decode_all
from fedthorax.common.pixels.decode import decode_image, fit_square, pixel_digest
from fedthorax.common.records.records import BadFile, ImageRef

Draw = Callable[..., Path]
MEMORY = CacheConfig()
SIZE = 4


@pytest.fixture
def pictures(tmp_path: Path, draw: Draw) -> list[Path]:
    return [draw(tmp_path / f"images/{n}.png", seed=n) for n in range(6)]


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def fail(path: Path, *_: object) -> None:
            raise AssertionError(f"{path} was decoded again")

        monkeypatch.setattr(cache, "decode_frames", fail)

    return forbid


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch, settled: None) -> Callable[[], None]:
    def forbid() -> None:
        def fail(path: Path) -> None:
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr(cache, "read_content", fail)

    return forbid


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a test are younger than the two seconds in which their times prove nothing."""
    monkeypatch.setattr(disk_cache, "_SETTLED_SECONDS", -1.0)


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "decoded").glob("*.rgb"))


@pytest.mark.parametrize("memory_mb", [2048, 0])
def test_rows_follow_the_paths_in_memory_and_beyond_it(pictures: list[Path], memory_mb: int) -> None:
    decoded = decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=memory_mb))
    assert isinstance(decoded.images, np.memmap) == (memory_mb == 0)
    assert decoded.images.shape == (6, SIZE, SIZE, 3)
    assert decoded.kept == tuple(range(6))
    for path, image, digest in zip(pictures, decoded.images, decoded.digests, strict=True):
        full = decode_image(path)
        np.testing.assert_array_equal(image, fit_square(full, SIZE, "pad"))
        assert digest == pixel_digest(full)


def test_decoded_images_cannot_be_changed_by_accident(pictures: list[Path]) -> None:
    for memory_mb in (1, 0):
        images = decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=memory_mb)).images
        with pytest.raises(ValueError, match="read-only"):
            images[0] = 0


def test_bad_files_leave_no_hole(pictures: list[Path]) -> None:
    pictures[1].write_bytes(b"")
    pictures[4].unlink()
    decoded = decode_all(pictures, SIZE, "pad", MEMORY)
    assert decoded.kept == (0, 2, 3, 5)
    assert decoded.images.shape[0] == len(decoded.digests) == 4
    assert decoded.bad == (BadFile(pictures[1], "is empty (0 bytes)"), BadFile(pictures[4], "does not exist"))
    np.testing.assert_array_equal(decoded.images[3], fit_square(decode_image(pictures[5]), SIZE, "pad"))


def test_no_paths_give_an_empty_array(tmp_path: Path) -> None:
    for memory_mb in (1, 0):
        decoded = decode_all([], SIZE, "pad", CacheConfig(memory_mb=memory_mb, folder=tmp_path))
        assert decoded.images.shape == (0, SIZE, SIZE, 3)


def test_progress_counts_files(pictures: list[Path]) -> None:
    done: list[int] = []
    decode_all(pictures, SIZE, "pad", MEMORY, done.append)
    assert done == [1, 2, 3, 4, 5, 6]


def test_the_budget_is_the_process_and_is_given_back(pictures: list[Path]) -> None:
    # 6 pictures of 512 x 512 x 3 bytes are 4.5 MiB.
    gc.collect()
    before = cache._memory_in_use
    limit = CacheConfig(memory_mb=5 + -(-before // 2**20))
    first = decode_all(pictures, 512, "pad", limit)
    second = decode_all(pictures, 512, "pad", limit)
    assert not isinstance(first.images, np.memmap)
    assert isinstance(second.images, np.memmap)
    view = first.images[2:3]
    del first
    gc.collect()
    assert isinstance(decode_all(pictures, 512, "pad", limit).images, np.memmap), "a view still holds the memory"
    del view
    gc.collect()
    assert cache._memory_in_use == before


def test_images_beyond_memory_leave_no_file_behind(tmp_path: Path, pictures: list[Path]) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    decoded = decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=0, disk_gb=0, folder=folder))
    assert isinstance(decoded.images, np.memmap)
    assert [path for path in folder.iterdir() if path.is_file()] == []


def test_a_second_run_reads_no_file_and_maps_the_squares(
    tmp_path: Path, pictures: list[Path], no_reading: Callable[[], None]
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    first = decode_all(pictures, SIZE, "pad", settings)
    no_reading()
    again = decode_all(pictures, SIZE, "pad", settings)
    assert isinstance(first.images, np.memmap)
    assert isinstance(again.images, np.memmap)
    np.testing.assert_array_equal(first.images, [fit_square(decode_image(p), SIZE, "pad") for p in pictures])
    np.testing.assert_array_equal(first.images, again.images)
    assert first.digests == again.digests == tuple(pixel_digest(decode_image(p)) for p in pictures)
    assert len(shards(tmp_path / "cache")) == 1


def test_files_that_were_just_written_are_read_again_but_not_decoded(
    tmp_path: Path, pictures: list[Path], no_decoding: Callable[[], None]
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    first = decode_all(pictures, SIZE, "pad", settings)
    no_decoding()
    np.testing.assert_array_equal(decode_all(pictures, SIZE, "pad", settings).images, first.images)


def test_a_picture_is_known_by_its_content_wherever_it_lies(
    tmp_path: Path, pictures: list[Path], no_decoding: Callable[[], None]
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    first = decode_all(pictures, SIZE, "pad", settings)
    no_decoding()
    elsewhere = [path.rename(tmp_path / f"moved {path.name}") for path in reversed(pictures)]
    moved = decode_all(elsewhere, SIZE, "pad", settings)
    np.testing.assert_array_equal(moved.images, first.images[::-1])
    assert not moved.images.flags.writeable


def test_a_picture_that_stands_twice_is_right_twice(tmp_path: Path, pictures: list[Path], settled: None) -> None:
    twice = [*pictures, pictures[2], *pictures[::-1]]
    settings = CacheConfig(folder=tmp_path / "cache")
    expected = [fit_square(decode_image(path), SIZE, "pad") for path in twice]
    for _ in range(2):
        decoded = decode_all(twice, SIZE, "pad", settings)
        np.testing.assert_array_equal(decoded.images, expected)
        assert decoded.kept == tuple(range(13))


def test_the_slices_of_a_volume_are_kept_one_by_one(
    tmp_path: Path, write_nifti: Callable[..., Path], no_reading: Callable[[], None]
) -> None:
    units = np.random.default_rng(0).integers(-1000, 500, (8, 8, 5)).astype(np.int16)
    volume = write_nifti(tmp_path / "v.nii.gz", units)
    refs = [ImageRef(volume, frame) for frame in (4, 0, 2)]
    settings = CacheConfig(folder=tmp_path / "cache")
    first = decode_all(refs, SIZE, "pad", settings, modality="ct")
    np.testing.assert_array_equal(first.images, [fit_square(decode_image(ref), SIZE, "pad") for ref in refs])
    bad = decode_all([*refs, ImageRef(volume, 5)], SIZE, "pad", settings, modality="ct").bad
    assert [(file.path, file.frame) for file in bad] == [(volume, 5)]
    no_reading()
    again = decode_all(refs[::-1], SIZE, "pad", settings, modality="ct")
    np.testing.assert_array_equal(again.images, first.images[::-1])


def test_other_windows_and_another_modality_are_decoded_again(tmp_path: Path, write_ct: Callable[..., Path]) -> None:
    path = write_ct(tmp_path / "a.dcm", np.array([[-1000, 40], [300, -600]]))
    settings = CacheConfig(folder=tmp_path / "cache")
    lung, bone = (
        decode_all([path], 2, "pad", settings, modality="ct", ct_windows=[window]).images[0]
        for window in CT_WINDOWS[::2]
    )
    assert (lung != bone).any()
    assert decode_all([path], 2, "pad", settings, modality="xray").bad


def test_new_pictures_among_known_ones_alone_are_decoded(
    tmp_path: Path, pictures: list[Path], settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    decode_all(pictures[::2], SIZE, "pad", settings)
    decoded: list[str] = []
    real = cache.decode_frames

    def counted(path: Path, *arguments: Any) -> Any:
        decoded.append(path.name)
        return real(path, *arguments)

    monkeypatch.setattr(cache, "decode_frames", counted)
    images = decode_all(pictures, SIZE, "pad", settings).images
    assert sorted(decoded) == ["1.png", "3.png", "5.png"]
    np.testing.assert_array_equal(images, [fit_square(decode_image(path), SIZE, "pad") for path in pictures])


def test_two_image_sizes_are_kept_beside_each_other(
    tmp_path: Path, pictures: list[Path], no_decoding: Callable[[], None]
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    for size in (4, 5):
        decode_all(pictures, size, "pad", settings)
    no_decoding()
    assert [len(decode_all(pictures, size, "pad", settings).kept) for size in (4, 5)] == [6, 6]


def test_an_empty_split_needs_no_file_when_the_memory_is_used_up(pictures: list[Path]) -> None:
    held = decode_all(pictures, SIZE, "pad", MEMORY)
    assert len(held.kept) == 6
    assert not isinstance(decode_all([], SIZE, "pad", CacheConfig(memory_mb=0)).images, np.memmap)


@pytest.mark.parametrize("change", ["pixels", "size", "aspect"])
def test_whatever_changes_the_picture_is_decoded_again(
    tmp_path: Path, pictures: list[Path], change: str, settled: None
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    decode_all(pictures, SIZE, "pad", settings)
    if change == "pixels":
        state = pictures[0].stat()
        content = pictures[1].read_bytes()
        pictures[0].write_bytes(content)
        os.utime(pictures[0], ns=(state.st_atime_ns, state.st_mtime_ns))
    size = 5 if change == "size" else SIZE
    aspect = "squash" if change == "aspect" else "pad"
    decoded = decode_all(pictures, size, aspect, settings)  # type: ignore[arg-type]
    expected = fit_square(decode_image(pictures[0]), size, aspect)  # type: ignore[arg-type]
    np.testing.assert_array_equal(decoded.images[0], expected)


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path, pictures: list[Path]) -> None:
    folder = tmp_path / "cache"
    decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".rgb", ".sqlite"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "decoded")} == {0o700}
    assert b"images/0.png" not in (folder / "decoded/index.sqlite").read_bytes(), "paths may name patients"


def _flip_a_byte(folder: Path) -> None:
    for path in shards(folder):
        content = bytearray(path.read_bytes())
        content[40] ^= 1
        path.write_bytes(content)


def _cut(folder: Path) -> None:
    for path in shards(folder):
        os.truncate(path, path.stat().st_size // 2)


def _remove(folder: Path) -> None:
    for path in shards(folder):
        path.unlink()


def _spoil_the_index(folder: Path) -> None:
    (folder / "decoded/index.sqlite").write_bytes(b"nonsense" * 1000)


@pytest.mark.parametrize("damage", [_flip_a_byte, _cut, _remove, _spoil_the_index])
def test_a_damaged_cache_is_filled_again(
    tmp_path: Path, pictures: list[Path], damage: Callable[[Path], None], settled: None
) -> None:
    folder = tmp_path / "cache"
    expected = [fit_square(decode_image(path), SIZE, "pad") for path in pictures]
    decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    damage(folder)
    for _ in range(2):
        again = decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
        np.testing.assert_array_equal(again.images, expected)


def test_bad_files_are_not_kept_so_that_a_repaired_right_is_seen(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "read_content", lambda path: BadFile(path, "may not be read"))
        assert len(decode_all(pictures, SIZE, "pad", settings).bad) == 6
    assert not shards(tmp_path / "cache")
    assert len(decode_all(pictures, SIZE, "pad", settings).kept) == 6


def test_a_folder_that_cannot_be_made_or_written_is_named(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"0\.png/cache: the cache folder cannot be made .*data\.cache\.folder"):
        decode_all(pictures, SIZE, "pad", CacheConfig(folder=pictures[0] / "cache"))

    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    folder = tmp_path / "cache"
    with pytest.raises(OSError, match=r"cache: the cache folder cannot be written \(No space left on device\); free"):
        decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    assert not shards(folder)


def limited(folder: Path, num_squares: float) -> CacheConfig:
    return CacheConfig(folder=folder, disk_gb=num_squares * SIZE * SIZE * 3 / 2**30)


def test_the_least_recently_used_make_room(
    tmp_path: Path, pictures: list[Path], settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = limited(tmp_path / "cache", 4)
    old, middle, new = pictures[:2], pictures[2:4], pictures[4:]
    mapped = decode_all(old, SIZE, "pad", settings)
    decode_all(middle, SIZE, "pad", settings)
    decode_all(old, SIZE, "pad", settings)  # now the middle ones were used longest ago
    decode_all(new, SIZE, "pad", settings)
    assert sum(path.stat().st_size for path in shards(tmp_path / "cache")) == 4 * SIZE * SIZE * 3
    read: list[str] = []
    real = cache.read_content
    monkeypatch.setattr(cache, "read_content", lambda path: read.append(path.name) or real(path))
    decode_all(old, SIZE, "pad", settings)
    decode_all(new, SIZE, "pad", settings)
    assert read == []
    decode_all(middle, SIZE, "pad", settings)
    assert sorted(read) == ["2.png", "3.png"]
    np.testing.assert_array_equal(mapped.images[1], fit_square(decode_image(old[1]), SIZE, "pad"))


def test_what_is_mapped_stays_right_when_it_is_thrown_away(tmp_path: Path, pictures: list[Path]) -> None:
    settings = limited(tmp_path / "cache", 3)
    first = decode_all(pictures[:3], SIZE, "pad", settings)
    decode_all(pictures[3:], SIZE, "pad", settings)
    assert len(shards(tmp_path / "cache")) == 1
    np.testing.assert_array_equal(first.images, [fit_square(decode_image(p), SIZE, "pad") for p in pictures[:3]])


def test_more_than_the_cache_holds_is_right_but_not_kept(tmp_path: Path, pictures: list[Path]) -> None:
    decoded = decode_all(pictures, SIZE, "pad", limited(tmp_path / "cache", 5.5))
    np.testing.assert_array_equal(decoded.images, [fit_square(decode_image(p), SIZE, "pad") for p in pictures])
    assert not shards(tmp_path / "cache")


_WRITER = """
import sys, time
from pathlib import Path
from fedthorax.common.config.data import CT_WINDOWS, CacheConfig
from fedthorax.common.pixels import cache, disk_cache
cache._BATCH = 2
pictures, folder, stop = sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2]), int(sys.argv[3])
def wait(done):
    if done == stop:
        print("stopped", flush=True)
        time.sleep(600)
decoded = cache.decode_all(pictures, 4, "pad", CacheConfig(folder=folder), wait)
print(decoded.images.tobytes().hex())
"""


def writer(pictures: list[Path], folder: Path, stop: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", _WRITER, str(pictures[0].parent), str(folder), str(stop)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_process_killed_while_it_writes_leaves_a_right_cache(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    process = writer(pictures, folder, stop=5)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        # While the writer lives, its unfinished shard is left alone.
        decode_all(pictures[:1], SIZE, "pad", CacheConfig(folder=folder))
        assert max(path.stat().st_size for path in shards(folder)) == 6 * SIZE * SIZE * 3
    finally:
        process.kill()
        process.communicate()
    decoded: list[str] = []
    real = cache.decode_frames
    monkeypatch.setattr(cache, "decode_frames", lambda path, *rest: decoded.append(path.name) or real(path, *rest))
    again = decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    assert sorted(decoded) == ["4.png", "5.png"], "the four that were named before the kill are kept"
    np.testing.assert_array_equal(again.images, [fit_square(decode_image(path), SIZE, "pad") for path in pictures])
    assert sum(path.stat().st_size for path in shards(folder)) == 6 * SIZE * SIZE * 3


def test_two_processes_at_once_both_get_the_right_pictures(tmp_path: Path, pictures: list[Path]) -> None:
    folder = tmp_path / "cache"
    processes = [writer(pictures, folder, stop=-1) for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in processes]
    expected = np.stack([fit_square(decode_image(path), SIZE, "pad") for path in pictures]).tobytes().hex()
    assert outputs == [expected, expected]
    assert decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder)).images.tobytes().hex() == expected


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space on a disk")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match=r"no room for 0 MiB of decoded images \(No space left"):
        decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=0))


def test_an_interruption_ends_the_decoding(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(pictures * 50, SIZE, "pad", MEMORY, interrupt)
