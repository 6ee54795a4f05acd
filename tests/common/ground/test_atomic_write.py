import os
import stat
import subprocess
from collections.abc import Iterator

import pytest

from fedthorax.common.ground.atomic_write import PRIVATE, remove_leftovers, replacing, write_bytes, write_text


def test_a_file_is_replaced_whole_and_has_its_mode_from_the_start(tmp_path):
    file = tmp_path / "state"
    write_text(file, "old")
    with replacing(file, PRIVATE, durable=False) as stream:
        stream.write(b"new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600


def half() -> Iterator[bytes]:
    yield b"ne"
    raise OSError("full")


def test_an_error_half_way_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "state"
    write_text(file, "old")
    with pytest.raises(OSError, match="full"):
        write_bytes(file, half())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert file.read_text() == "old"


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing/page.html", tmp_path / "file/page.html", tmp_path / "folder"):
        with pytest.raises(OSError, match=r"page\.html|folder") as caught:
            write_text(path, "page")
        assert str(caught.value).endswith(f": '{path}'")
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "page.html"):
        (tmp_path / "another").read_bytes()
    assert caught.value.filename == str(tmp_path / "another")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_the_new_name_is_on_disk_as_well_where_the_file_has_to_be(tmp_path, monkeypatch):
    synced = []

    def note(descriptor):
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), (tmp_path / "state").exists()))

    monkeypatch.setattr("fedthorax.common.ground.atomic_write.os.fsync", note)
    write_text(tmp_path / "state", "new")
    assert synced == [(False, False), (True, True)]  # its content, then the folder in which it has its name


def test_what_a_killed_process_was_writing_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    killed = subprocess.Popen(["true"])
    killed.wait()
    (tmp_path / "segments").mkdir()
    left = tmp_path / "segments" / f".x.f32.{killed.pid}.0123abcd.tmp"
    other = tmp_path / ".other.tmp"
    for path in (left, other):
        path.write_text("half")
    with replacing(tmp_path / "state") as stream:
        remove_leftovers(tmp_path)
        stream.write(b"new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".other.tmp", "segments", "state"]
