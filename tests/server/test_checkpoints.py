import errno
import os

import numpy as np
import pytest

from fedthorax.common.model.segments import SEGMENTS
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.selection import Selection


def weights(value: float) -> dict[str, np.ndarray]:
    return {segment: np.full(3, value, np.float32) for segment in SEGMENTS}


def state(number: int, best: int, **more) -> Checkpoint:
    return Checkpoint(number, weights(number), Selection("loss", best_round=best), **more)


def test_a_checkpoint_gives_back_all_that_it_was_given(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    selection = Selection("loss", best_round=4, best_value=0.25, rounds_since_best=1)
    record = {"name": "tiny", "rounds": [{"round": 0, "central": {"loss": 0.1}}]}
    facts = {"acknowledged": {"Süd": ["a"]}, "egress_heads": {"Süd": ["h1", "h2"]}, "overlaps": {"Süd": [3]}}
    broadcast = {"residual.fusion": np.arange(8, dtype=np.uint8)}
    checkpoints.save(Checkpoint(5, weights(1.5), selection, "run-1", record, **facts, broadcast=broadcast))
    loaded = checkpoints.load(5)
    assert {name: values.tolist() for name, values in loaded.broadcast.items()} == {"residual.fusion": [*range(8)]}
    assert (loaded.round, loaded.selection, loaded.run, loaded.record) == (5, selection, "run-1", record)
    assert {name: getattr(loaded, name) for name in facts} == facts
    assert {name: values.tolist() for name, values in loaded.weights.items()} == {name: [1.5] * 3 for name in SEGMENTS}


def test_the_newest_stay_and_the_best_round_of_each(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in range(6):
        checkpoints.save(state(number, best=min(number, 1)))
    assert checkpoints.rounds() == [1, 4, 5]
    checkpoints.save(state(6, best=6))
    # Going on from round 5, should round 6 turn out damaged, needs round 1.
    assert checkpoints.rounds() == [1, 5, 6]
    checkpoints.save(state(7, best=6))
    assert checkpoints.rounds() == [6, 7]


def test_a_round_whose_model_was_not_taken_is_not_one_of_the_newest_that_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number, central in enumerate([{"loss": 1.0}, {"loss": 0.9}, None, {"loss": 0.8}, None]):
        checkpoints.save(state(number, best=0, record={"rounds": [{"round": number, "central": central}]}))
    # A part of the network that got no better after round 1 goes back to it: rounds without a figure do not count.
    assert checkpoints.rounds() == [0, 1, 2, 3, 4]
    checkpoints.save(state(5, best=5, record={"rounds": [{"round": 5, "central": {"loss": 0.7}}]}))
    assert checkpoints.rounds() == [0, 3, 4, 5]


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    file = checkpoints.save(state(0, best=0))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"damaged checkpoint .*round-0000.npz"):
        checkpoints.load(0)


@pytest.mark.parametrize("left", [0, 100, -1])
def test_a_truncated_last_checkpoint_gives_way_to_the_one_before(tmp_path, left):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in range(3):
        file = checkpoints.save(state(number, best=0))
    file.write_bytes(file.read_bytes()[:left])
    newest, damaged = checkpoints.latest()
    assert newest.round == 1
    assert len(damaged) == 1
    assert "round-0002.npz" in damaged[0]


def test_changed_bytes_in_the_weights_are_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(state(0, best=0))
    file = checkpoints.save(state(1, best=0))
    content = bytearray(file.read_bytes())
    position = content.index(np.full(3, 1, np.float32).tobytes())
    content[position] ^= 1
    file.write_bytes(content)
    assert checkpoints.latest()[0].round == 0


def test_without_a_whole_checkpoint_the_words_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"no whole checkpoint to resume from: .* holds none; start the run anew"):
        Checkpoints(tmp_path, keep=1).latest()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint of round 7"):
        Checkpoints(tmp_path, keep=1).load(7)


def test_no_half_written_checkpoint_is_ever_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    (tmp_path / ".round-0003.npz.77.ab.tmp").write_bytes(b"half")
    assert checkpoints.rounds() == []


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(state(3, best=3))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    words = r"round-0004.npz cannot be written: No space left on device; the newest whole checkpoint is of round 3"
    with pytest.raises(OSError, match=words):
        checkpoints.save(state(4, best=3))
    assert [path.name for path in tmp_path.iterdir()] == ["round-0003.npz"]
    assert checkpoints.latest()[0].round == 3


def test_rounds_that_are_run_again_lose_their_checkpoints(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for number in range(3):
        checkpoints.save(state(number, best=0))
    checkpoints.remove_after(1)
    assert checkpoints.rounds() == [0, 1]
