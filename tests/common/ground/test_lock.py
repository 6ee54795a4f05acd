import fcntl
import os

import pytest

from fedthorax.common.ground.lock import locked, take


def test_while_it_is_held_another_one_is_refused_in_words(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError, match="somebody is here"):
        take(tmp_path / "lock", "somebody is here")
    os.close(take(tmp_path / "lock", "somebody is here"))  # given back


def test_only_its_owner_can_hold_it_unless_it_is_said(tmp_path):
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_whose_file_is_removed_while_it_is_waited_for_is_that_of_the_new_file(tmp_path, monkeypatch):
    path, flock = tmp_path / "lock", fcntl.flock

    def removed_meanwhile(descriptor, how):
        flock(descriptor, how)
        monkeypatch.setattr("fedthorax.common.ground.lock.fcntl.flock", flock)
        path.unlink()

    monkeypatch.setattr("fedthorax.common.ground.lock.fcntl.flock", removed_meanwhile)
    descriptor = take(path)
    with pytest.raises(BlockingIOError):
        take(path, "somebody is here")
    os.close(descriptor)
