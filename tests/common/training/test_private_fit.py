"""Noise and repetition of private steps, on sums that are given."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.common.config.patient_privacy import PatientPrivacy
from fedthorax.common.model.segments import Slot
from fedthorax.common.privacy.plan import Plan
from fedthorax.common.training.private_fit import PrivateSteps, moved_by
from fedthorax.common.training.private_step import Patients

SIZE, GRID = 4000, 2.0**-10
CAME = {"disease": np.zeros(SIZE, np.float32)}
NOBODY = Patients(("Anna",), {"xray": ((0,),), "ct": ((),)}, {}, np.zeros((1, 1)), np.zeros(0, np.int32))
PRIVACY = PatientPrivacy(mechanism="local", epsilon=1, delta=1e-4, sampling_rate=1.0, steps=1, patients=10)


def taken(total, shared=1, context=("r1", 1), secret=b"secret", fault="none", patients=NOBODY, steps=1):
    """The noise in multiples of the grid, and the mark; a step of the grid moves a value by ``unit``."""
    heads = SimpleNamespace(
        places=[("disease", Slot("kernel", (SIZE,), 0, SIZE))], size=SIZE, grid=GRID, most=1.0, fault=fault,
        drawn=lambda *_: None, clipped_sum=lambda *_: np.asarray(total, float) * GRID,
    )  # fmt: skip
    private = PrivateSteps(heads, Plan(PRIVACY, 2.0, shared, steps), secret, list(context), 1.0)
    moved = private.take(CAME, patients)["disease"]
    assert (moved % private.unit == 0).all()  # sums of hospitals stay on the grid
    return -moved // private.unit - steps * np.asarray(total, np.int64), private.mark


ZEROS = np.zeros(SIZE)
OTHER = np.eye(1, SIZE)[0]


@pytest.mark.parametrize("shared", [1, 4])
def test_each_hospital_adds_its_part_of_the_variance(shared):
    noise, _ = taken(ZEROS, shared)
    assert noise.std() == pytest.approx(2.0 * 1.0 / GRID / np.sqrt(shared), rel=0.05)
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(SIZE)


def test_the_same_sum_in_the_same_place_has_the_same_noise_and_mark():
    one, again = taken(ZEROS), taken(ZEROS)
    assert (one[0] == again[0]).all()
    assert one[1] == again[1]


@pytest.mark.parametrize("change", [{"total": OTHER}, {"context": ("r1", 2)}, {"secret": b"another"}], ids=str)
def test_anything_else_has_fresh_noise_and_another_mark(change):
    one, other = taken(ZEROS), taken(**{"total": ZEROS, **change})
    assert (one[0] != other[0]).mean() > 0.99
    assert one[1] != other[1]


def test_the_steps_of_a_round_have_noise_of_their_own():
    assert taken(ZEROS, steps=2)[0].std() == pytest.approx(np.sqrt(2) * 2 / GRID, rel=0.05)


def test_noise_that_was_left_out_shows():
    assert not taken(ZEROS, fault="no noise")[0].any()


def test_what_did_not_move_keeps_its_bits():
    came = {"disease": np.array([1e-20, 0.5], np.float32)}
    after = moved_by(came, {"disease": np.array([0, 1 << 38], np.int64)})["disease"]
    assert after.tolist() == [came["disease"][0], 0.75]
