"""Decoded images in memory, beyond memory, and on disk."""

import gc
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.data import CacheConfig
from fedthorax.common.data import cache
from fedthorax.common.data.cache import decode_all
from fedthorax.common.data.decode import decode_image, fit_square, pixel_digest
from fedthorax.common.data.records import BadFile

Draw = Callable[..., Path]
MEMORY = CacheConfig()
SIZE = 4


@pytest.fixture
def pictures(tmp_path: Path, draw: Draw) -> list[Path]:
    return [draw(tmp_path / f"images/{n}.png", seed=n) for n in range(6)]


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def forbid() -> None:
        def fail(path: Path) -> None:
            raise AssertionError(f"{path} was decoded again")

        monkeypatch.setattr(cache, "try_decode", fail)

    return forbid


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
    decoded = decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=0, folder=folder))
    assert isinstance(decoded.images, np.memmap)
    assert [path for path in folder.iterdir() if path.is_file()] == []


def test_a_second_run_reads_squares_and_digests_from_the_folder(
    tmp_path: Path, pictures: list[Path], no_decoding: Callable[[], None]
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    first = decode_all(pictures, SIZE, "pad", settings)
    no_decoding()
    again = decode_all(pictures, SIZE, "pad", settings)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.digests == again.digests


@pytest.mark.parametrize("change", ["pixels", "size", "aspect"])
def test_whatever_changes_the_picture_is_decoded_again(tmp_path: Path, pictures: list[Path], change: str) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    decode_all(pictures, SIZE, "pad", settings)
    if change == "pixels":
        content = pictures[1].read_bytes()
        pictures[0].write_bytes(content)
        os.utime(pictures[0], ns=(1, 1))
    size = 5 if change == "size" else SIZE
    aspect = "squash" if change == "aspect" else "pad"
    decoded = decode_all(pictures, size, aspect, settings)  # type: ignore[arg-type]
    expected = fit_square(decode_image(pictures[0]), size, aspect)  # type: ignore[arg-type]
    np.testing.assert_array_equal(decoded.images[0], expected)


def test_only_the_owner_can_read_what_is_kept(tmp_path: Path, pictures: list[Path]) -> None:
    folder = tmp_path / "cache"
    decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"\x00" + b"\x01"[:0]])
def test_a_damaged_entry_is_decoded_again(
    tmp_path: Path, pictures: list[Path], damage: Callable[[bytes], bytes]
) -> None:
    folder = tmp_path / "cache"
    first = decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    for path in folder.rglob("*"):
        if path.is_file():
            content = bytearray(damage(path.read_bytes()))
            content[40] ^= 1
            path.write_bytes(bytes(content))
    again = decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    np.testing.assert_array_equal(first.images, again.images)


def test_bad_files_are_not_kept_so_that_a_repaired_right_is_seen(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = CacheConfig(folder=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "try_decode", lambda path: BadFile(path, "may not be read"))
        assert len(decode_all(pictures, SIZE, "pad", settings).bad) == 6
    assert len(decode_all(pictures, SIZE, "pad", settings).kept) == 6


def test_a_folder_that_cannot_be_made_or_written_is_named(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=r"0\.png/cache: the cache folder cannot be made .*data\.cache\.folder"):
        decode_all(pictures, SIZE, "pad", CacheConfig(folder=pictures[0] / "cache"))

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    folder = tmp_path / "cache"
    with pytest.raises(OSError, match=r"cache: the cache folder cannot be written \(No space left on device\)"):
        decode_all(pictures, SIZE, "pad", CacheConfig(folder=folder))
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space on a disk")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    tmp_path: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match=r"no room for 0 MiB of decoded images \(No space left"):
        decode_all(pictures, SIZE, "pad", CacheConfig(memory_mb=0, folder=tmp_path))


def test_an_interruption_ends_the_decoding(pictures: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all(pictures * 50, SIZE, "pad", MEMORY, interrupt)
