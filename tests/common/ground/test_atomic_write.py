from collections.abc import Iterator

import pytest

from fedthorax.common.ground.atomic_write import PRIVATE, replacing, write_bytes, write_text


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
