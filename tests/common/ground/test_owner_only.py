"""What root writes into a folder of another user."""

import os
from pathlib import Path

import pytest

from fedthorax.common.ground.owner_only import hand_to_owner

OTHER = 54321  # a user's number that nobody has


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes into the folders of others")
def test_what_root_writes_is_the_owners_of_its_folder_and_a_link_there_gives_nothing_else_away(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root's")
    theirs = tmp_path / "state"
    theirs.mkdir()
    os.chown(theirs, OTHER, OTHER)
    (theirs / "standing.json").write_text("{}")
    hand_to_owner(theirs / "standing.json")
    assert (theirs / "standing.json").stat().st_uid == OTHER
    (theirs / "link").symlink_to(tmp_path / "shadow")
    hand_to_owner(theirs / "link")
    assert (tmp_path / "shadow").stat().st_uid == 0
