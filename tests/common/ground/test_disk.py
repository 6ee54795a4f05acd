import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedthorax.common.ground.machine import full_disk


@pytest.mark.parametrize(
    ("blocks", "entries", "words"),
    [
        (2047, 9, "8188 KiB free"),
        (2048, 9, None),
        (4096, 0, "16 MiB free, but no entry for another file"),
        (0, 0, "0 KiB free"),
    ],
)
def test_a_disk_that_takes_no_file_is_named_with_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, entries: int, words: str | None
) -> None:
    disk = SimpleNamespace(f_bavail=blocks, f_frsize=4096, f_files=100, f_favail=entries)
    monkeypatch.setattr(os, "statvfs", lambda place: disk)
    assert full_disk(tmp_path) == (words and f"the disk is full ({tmp_path}: {words}): make room")
    disk.f_files = 0  # a file system that counts none
    assert (full_disk(tmp_path) is None) == (blocks >= 2048)


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        os, "statvfs", lambda place: asked.append(place) or SimpleNamespace(f_bavail=1 << 20, f_frsize=4096, f_files=0)
    )
    assert full_disk(tmp_path / "runs" / "chest") is None
    assert asked == [tmp_path]
