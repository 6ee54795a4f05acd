import math
from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.common.model.segments import Slot
from fedthorax.server.steps import adam_reach, far_from_others, measured


def test_the_first_step_of_adam_is_one_learning_rate_and_a_later_one_at_most_7_27():
    assert adam_reach(0) == 0
    assert adam_reach(1) == pytest.approx(1)
    # b1 = 0.9, b2 = 0.999: 0.1 / sqrt(0.001) * sqrt(1 + 0.81 / 0.999) * sqrt(1 - 0.999^2) / (1 - 0.81), by hand.
    assert adam_reach(2) - adam_reach(1) == pytest.approx(3.16228 * 1.34567 * 0.0447102 / 0.19, rel=1e-4)
    assert adam_reach(100_001) - adam_reach(100_000) == pytest.approx(7.27, abs=0.01)


@pytest.mark.parametrize("growth", [1.0, 1.11, 1.5, 0.9, -1.0])
def test_no_sequence_of_gradients_goes_further(growth):
    mean = square = moved = 0.0
    for step in range(1, 200):
        gradient = growth**step
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        moved += (mean / (1 - 0.9**step)) / math.sqrt(square / (1 - 0.999**step))
        assert abs(moved) <= adam_reach(step) * (1 + 1e-9)


def test_a_step_is_measured_by_what_was_trained_and_by_moving_statistics():
    names = ("kernel", "bn/gamma", "bn/moving_mean", "bn/moving_variance")
    slots = tuple(Slot(name, (2,), 2 * place, 2 * place + 2) for place, name in enumerate(names))
    before = {"fusion": np.array([1, -4, 1, 1, 0, 0, 2, 8], np.float32)}
    update = {"fusion": np.array([1, -3, 1, 0.5, 9, 0, 1, 80], np.float32)}
    found = measured(update, before, SimpleNamespace(slots={"fusion": slots}))
    assert found.norms == {"fusion and heads": pytest.approx(math.sqrt(1 + 0.25))}  # of what is trained alone
    assert (found.farthest, found.variable, found.largest) == (1.0, "kernel", 4.0)
    assert found.left == (pytest.approx(1.001 / 2.001), "bn/moving_variance")
    assert found.grown == (pytest.approx(80.001 / 8.001), "bn/moving_variance")
    assert found.shifted == (pytest.approx(9 / math.sqrt(2.001)), "bn/moving_mean")  # the variance fell from 2 to 1


def test_a_unit_may_fall_silent_and_wake_up_again():
    slots = {"fusion": (Slot("bn/moving_variance", (2,), 0, 2),)}
    before, update = ({"fusion": np.array(pair, np.float32)} for pair in ([4e-8, 1e-40], [0.104, 0]))
    found = measured(update, before, SimpleNamespace(slots=slots))
    assert found.grown[0] == pytest.approx(105, rel=1e-3)  # 2.6 million times without what normalisation adds
    assert found.left[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("paces", "expected"),
    [
        ({"a": 1.0, "b": 1.1}, {}),  # two cannot say which of them is odd
        ({"a": 1.0, "b": 100.0}, {}),
        ({"a": 1.0, "b": 2.9, "c": 1.0}, {}),
        ({"a": 1.0, "b": 3.1, "c": 1.0}, {"b": "3.1 times as far as usual (median of 3)"}),
        ({"a": 1.0, "b": 0.3, "c": 1.0}, {"b": "0.3 times as far as usual (median of 3)"}),
        ({"a": 1.0, "b": 0.0, "c": 1.0, "d": 1.0}, {}),  # its labels may teach nothing there
        ({"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.0, "e": 1.0, "f": 9.0}, {"f": "9 times as far as usual (median of 3)"}),
        ({**dict.fromkeys("abcdefgh", 1.0), "i": 50.0, "j": 60.0}, {"i": "50 times", "j": "60 times"}),
    ],
)
def test_who_is_far_from_the_others(paces, expected):
    found = far_from_others({site: {"the CT encoder": pace} for site, pace in paces.items()}, 3.0)
    assert set(found) == set(expected)
    assert all(words in found[site] for site, words in expected.items())


def test_each_encoder_is_compared_among_those_who_sent_it():
    """Three hospitals with X-rays alone train what comes after, three others CT's encoder too."""
    after, ct = "fusion and heads", "the CT encoder"
    paces = {name: {after: 1.0} for name in "abc"} | {name: {after: 1.1, ct: 9.0} for name in "def"}
    assert far_from_others(paces, 3.0) == {}
    found = far_from_others(paces | {"f": {after: 1.1, ct: 90.0}}, 3.0)
    assert found == {"f": found["f"]}
    assert "moves the CT encoder 10 times as far as usual (median of 3)" in found["f"]
    assert far_from_others(paces | {"c": {after: 1.0, ct: 90.0}}, 3.0).keys() == {"c"}
    assert far_from_others({name: paces[name] for name in "abcde"}, 3.0) == {}, "of two nobody can say who is odd"


def test_the_parts_of_a_step_are_the_encoders_and_what_comes_after():
    names = ("xray.backbone", "xray.projection", "ct.projection", "fusion", "cancer")
    layout = SimpleNamespace(slots={name: (Slot("kernel", (1,), 0, 1),) for name in names})
    before, update = ({name: np.full(1, value, np.float32) for name in names} for value in (1, 3))
    found = measured(update, before, layout)
    root = math.sqrt(8)
    assert found.norms == {"the X-ray encoder": root, "the CT encoder": 2, "fusion and heads": root}
    assert found.norm == pytest.approx(math.sqrt(20))
    assert found.paces(4)["the CT encoder"] == 1
