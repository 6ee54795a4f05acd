"""An audit of one step: canaries are in with probability 1/2 and guessed from what would leave.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023: under epsilon no more guesses
are right than so many draws with the chance e^eps / (1 + e^eps).
"""

import math

import numpy as np
import pytest
from scipy.stats import binom

from fedthorax.common.config.patient_privacy import PatientPrivacy
from fedthorax.common.pairing import ABSENT
from fedthorax.common.privacy.accountant import noise_multiplier
from fedthorax.common.privacy.plan import Plan
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import PrivateSteps
from fedthorax.common.training.private_step import PatientBatch, Patients, PrivateHeads

from .test_private_step import small

CANARIES, EPSILON, CLIP = 60, 1.0, 0.1


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(small(projection="fixed", feature_units=CANARIES, fusion_units=[]))


def chance(network: Network, fault: str) -> float:
    """That as many guesses are right as are, or more, if the step keeps what it promises."""
    # Each canary shows what no other shows, and far more of it than the clip lets through.
    values = {"xray": 1000 * np.eye(CANARIES), "ct": np.zeros((0, CANARIES))}
    names, rows = tuple(f"canary {n:02d}" for n in range(CANARIES)), tuple((n,) for n in range(CANARIES))
    labels = np.random.default_rng(1).integers(0, 2, (CANARIES, 2)).astype(float)
    everybody = Patients(names, {"xray": rows, "ct": ((),) * CANARIES}, values, labels, np.zeros(0, np.int32))
    inside = np.random.default_rng(2).random(CANARIES) < 0.5
    heads = PrivateHeads(network, CLIP, fault)
    privacy = PatientPrivacy(
        mechanism="local", epsilon=EPSILON, delta=1e-6, clip=CLIP, sampling_rate=1.0, steps=1, patients=30
    )
    plan = Plan(privacy, noise_multiplier(EPSILON, 1e-6, 1.0, 1), 1, 1)
    network.model.get_layer("disease_logits").set_weights([np.zeros((CANARIES, 2)), np.array([-1.0, 1.0])])
    came = network.layout.read(network.trained_segments("heads"))
    private = PrivateSteps(heads, plan, b"secret", ["audit"], 1.0)
    moved = private.take(came, everybody.only(np.flatnonzero(inside).tolist()))
    seen = -np.concatenate([moved[name][slot.start : slot.stop] for name, slot in heads.places]) / private.unit
    weights = [came[name][slot.start : slot.stop].reshape(slot.shape).astype(float) for name, slot in heads.places]
    scores = []
    for row in range(CANARIES):
        alone = PatientBatch(np.array([[row]]), np.array([[ABSENT]]))
        scores.append(float(seen @ heads.clipped_sum(weights, everybody, alone)))
    guessed = np.argsort(np.argsort(scores)) >= CANARIES // 2
    right = int((guessed == inside).sum())
    return float(binom.sf(right - 1, CANARIES, math.exp(EPSILON) / (1 + math.exp(EPSILON))))


def test_a_private_step_gives_away_no_more_than_it_says(network):
    assert chance(network, "none") > 0.05


@pytest.mark.parametrize("fault", ["no noise", "no clipping"])
def test_a_fault_in_noise_or_clipping_is_found(network, fault):
    assert chance(network, fault) < 0.001
