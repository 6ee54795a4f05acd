"""A private step by hand: each patient's gradient by itself, cut, added."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.config import Experiment
from fedthorax.common.model.dual import pooled_to_logits
from fedthorax.common.pairing import ABSENT
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_step import PatientBatch, Patients, PrivateHeads

CLIP = 0.3


def small(**model) -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    widths = {"encoder_units": 5, "feature_units": 4, "fusion_units": [6], "dropout": 0.0, "head_norm": "layer"}
    network = {"backbone": "MobileNetV3Small", "image_size": 32, "weights": "none", "batch_norm": "train"}
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": ["Effusion", "Mass"], "cancer_classes": ["normal", "tumour"]},
            "data": {"hospitals": {"north": source}, "central": source},
            "model": {**network, **widths, "absent": "token", **model},
            "training": {
                "phases": [{"rounds": 1, "trainable": "all"}],
                "loss": {"positive_weights": {"Mass": 2.0}},
                "threads": 2,
            },
        }
    )


@pytest.fixture(scope="module", params=[("learned", [6]), ("fixed", [6]), ("fixed", [])], ids=str)
def heads(request) -> PrivateHeads:
    projection, fusion = request.param
    return PrivateHeads(Network(small(projection=projection, fusion_units=fusion)), CLIP)


@pytest.fixture
def patients(heads) -> Patients:
    """Anna has two X-rays and a slice, Ben three slices of which one has no label, Carl one X-ray; Dora none known."""
    random, width = np.random.default_rng(3), heads._signature(heads.network.experiment.model.projection == "fixed")
    values = {"xray": random.normal(size=(4, width[1].shape[-1])), "ct": random.normal(size=(4, width[2].shape[-1]))}
    disease = np.array([[1, 0], [np.nan, 1], [0, 0], [np.nan, np.nan]])
    return Patients(
        ("Anna", "Ben", "Carl", "Dora"),
        {"xray": ((0, 1), (), (2,), (3,)), "ct": ((0,), (1, 2, 3), (), ())},
        values,
        disease,
        np.array([1, 0, -1, 1], np.int32),
    )


def weights(heads: PrivateHeads) -> list[np.ndarray]:
    random = np.random.default_rng(5)
    return [random.normal(size=slot.shape) for _, slot in heads.places]


BATCH = PatientBatch(
    np.array([[0, 1, ABSENT], [ABSENT] * 3, [2, ABSENT, ABSENT], [3, ABSENT, ABSENT]]),
    np.array([[0, ABSENT, ABSENT], [1, 2, 3], [ABSENT] * 3, [ABSENT] * 3]),
)


def alone(batch: PatientBatch, place: int) -> PatientBatch:
    return PatientBatch(batch.xray[place : place + 1], batch.ct[place : place + 1])


def unclipped(heads: PrivateHeads) -> PrivateHeads:
    return PrivateHeads(heads.network, 1e9)


def test_the_sum_is_that_of_a_loop_over_patients_with_each_gradient_cut(heads, patients):
    whole, by_hand = heads.clipped_sum(weights(heads), patients, BATCH), np.zeros(heads.size)
    free, lengths = unclipped(heads), []
    for place in range(4):
        gradient = free.clipped_sum(weights(heads), patients, alone(BATCH, place))
        lengths.append(np.linalg.norm(gradient))
        by_hand += gradient * min(1, CLIP / max(lengths[-1], CLIP))
    assert whole == pytest.approx(by_hand, abs=1e-12)
    assert max(lengths) > CLIP  # or nothing was cut
    assert lengths[3] == 0  # nothing is known of Dora


def test_a_gradient_is_that_of_keras_for_the_mean_over_the_patient_s_known_labels(heads, patients):
    network, place = heads.network, 0
    gradient = unclipped(heads).clipped_sum(weights(heads), patients, alone(BATCH, place))
    for value, (_, slot) in zip(weights(heads), heads.places, strict=True):
        next(v for v in network.model.variables if v.path == slot.name).assign(value)
    rows = {"xray": [0, 1], "ct": [0, 0]}
    pooled = [tf.constant(patients.values[side][rows[side]], tf.float32) for side in ("xray", "ct")]
    if network.experiment.model.projection == "fixed":  # the layer that does it passes what it is given
        width = network.pooled_width("xray")
        pooled = [tf.pad(values, ((0, 0), (0, width - 4))) for values in pooled]
        for side in ("xray", "ct"):
            network.model.get_layer(f"{side}_features").set_weights([np.eye(width, 4), np.zeros(4)])
    present = [tf.constant([[1.0], [1.0]]), tf.constant([[1.0], [0.0]])]  # one slice: the second X-ray is alone
    labels = {"disease": tf.constant(patients.disease[[0, 1]], tf.float32), "cancer": tf.constant([1, -1])}
    variables = [next(v for v in network.model.variables if v.path == slot.name) for _, slot in heads.places]
    with tf.GradientTape() as tape:
        losses = network.losses(labels, pooled_to_logits(network.model)([*pooled, *present], training=False))
        loss = sum(each.mean() for each in losses)
    expected = tape.gradient(loss, [v.value for v in variables])
    flat = np.concatenate([g.numpy().ravel() for g in expected])
    assert gradient == pytest.approx(flat, rel=1e-3, abs=1e-5)


def test_a_patient_moves_the_sum_on_the_grid_by_no_more_than_is_counted(heads, patients):
    def on_grid(batch: PatientBatch) -> np.ndarray:
        return np.rint(heads.clipped_sum(weights(heads), patients, batch) / heads.grid)

    for place in range(4):
        kept = [other for other in range(4) if other != place]
        less = PatientBatch(BATCH.xray[kept], BATCH.ct[kept])
        moved = np.linalg.norm(on_grid(BATCH) - on_grid(less)) * heads.grid
        assert moved <= heads.most
        assert heads.grid * np.sqrt(heads.size) <= heads.most - CLIP


def test_clipping_that_was_left_out_lets_a_patient_move_it_further(heads, patients):
    broken = PrivateHeads(heads.network, CLIP, "no clipping")
    assert np.linalg.norm(broken.clipped_sum(weights(heads), patients, alone(BATCH, 0))) > heads.most


def test_a_patient_s_images_are_his_own_in_pairs_as_far_as_both_go_and_no_more_than_allowed(heads, patients):
    random = np.random.default_rng(0)
    batch = heads.drawn(patients, [0, 1, 2], 2, random)
    assert batch.xray.shape == batch.ct.shape
    for place, (xray, ct) in enumerate(zip(batch.xray.tolist(), batch.ct.tolist(), strict=True)):
        own = [row for row in xray if row != ABSENT], [row for row in ct if row != ABSENT]
        assert len(own[0]) + len(own[1]) == min(2, len(patients.rows["xray"][place]) + len(patients.rows["ct"][place]))
        assert set(own[0]) <= set(patients.rows["xray"][place])
        assert set(own[1]) <= set(patients.rows["ct"][place])
    assert heads.drawn(patients, [], 2, random).xray.shape[0] == 0
    assert not heads.clipped_sum(weights(heads), patients, heads.drawn(patients, [], 2, random)).any()


def test_an_image_without_a_patient_is_refused(heads, draw_images):
    images = draw_images(2, 2)
    nameless = replace(images, xray=replace(images.xray, named=(True, False)))
    with pytest.raises(ValueError, match="some of its training images name none"):
        heads.patients(None, nameless)
