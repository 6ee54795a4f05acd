import numpy as np
import pytest

from fedthorax.common.model.segments import SEGMENTS
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.selection import Selection


def weights(value: float) -> dict[str, np.ndarray]:
    return {segment: np.full(3, value, np.float32) for segment in SEGMENTS}


def test_a_checkpoint_gives_back_weights_and_selection(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    selection = Selection("loss", best_round=4, best_value=0.25, rounds_since_best=1)
    checkpoints.save(5, weights(1.5), selection)
    loaded, state = checkpoints.load(5)
    assert state == selection
    assert {name: values.tolist() for name, values in loaded.items()} == {name: [1.5] * 3 for name in SEGMENTS}


def test_the_newest_and_the_best_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for number in range(6):
        checkpoints.save(number, weights(number), Selection("loss", best_round=min(number, 1)))
    assert checkpoints.rounds() == [1, 4, 5]


def test_a_damaged_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    file = checkpoints.save(0, weights(0), Selection("loss", best_round=0))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"damaged checkpoint .*round-0000.npz"):
        checkpoints.load(0)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint of round 7"):
        Checkpoints(tmp_path, keep=1).load(7)


def test_no_half_written_checkpoint_is_ever_seen(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    (tmp_path / "round-0003.part").write_bytes(b"half")
    assert checkpoints.rounds() == []
