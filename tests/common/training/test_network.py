import math

import numpy as np
import pytest

from fedthorax.common.model.segments import BACKBONE_SEGMENTS, HEAD_SEGMENTS
from fedthorax.common.training.losses import balancing
from fedthorax.common.training.network import Network

UNKNOWN = np.float32("nan")


def pooled_batch(network, disease, cancer):
    random = np.random.default_rng(1)
    rows, width = len(disease), network.pooled_width("xray")
    xray, ct = random.normal(size=(2, rows, width)).astype(np.float32)
    return xray, ct, np.asarray(disease, np.float32), np.asarray(cancer, np.int32)


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_the_heads_phase_leaves_the_backbones_as_they_were(fresh):
    before = fresh.layout.read()
    fresh.start("heads", seed=1)
    fresh.set_learning_rate("heads", 0.01)
    fresh.step("heads")(*pooled_batch(fresh, [[1, 0, 1], [0, 1, 0]], [0, 1]))
    assert changed(before, fresh.layout.read()) == set(HEAD_SEGMENTS)
    assert fresh.trained_segments("heads") == HEAD_SEGMENTS


@pytest.mark.ci
def test_the_whole_network_learns_in_a_phase_of_all(fresh, draw_images):
    images = draw_images(4, 4)
    before = fresh.layout.read()
    fresh.start("all", seed=1)
    fresh.set_learning_rate("all", 0.01)
    pixels = (part.images.astype(np.float32) for part in (images.xray, images.ct))
    fresh.step("all")(*pixels, images.xray.targets, images.ct.targets)
    assert changed(before, fresh.layout.read()) >= set(BACKBONE_SEGMENTS)


def test_a_step_reports_sums_over_the_known_labels_only(fresh):
    fresh.start("heads", seed=1)
    disease = [[1, UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN, 0]]
    sums = fresh.step("heads")(*pooled_batch(fresh, disease, [-1, 1])).numpy()
    assert (sums[1], sums[3]) == (2, 1)


def test_a_head_without_a_known_label_does_not_change(fresh):
    before = fresh.layout.read()
    fresh.start("heads", seed=1)
    fresh.set_learning_rate("heads", 0.01)
    fresh.step("heads")(*pooled_batch(fresh, np.full((2, 3), UNKNOWN), [0, 1]))
    after = fresh.layout.read()
    assert "cancer" in changed(before, after)
    assert "disease" not in changed(before, after)


def test_a_new_task_begins_with_a_fresh_optimiser(fresh):
    def two_steps():
        fresh.layout.write(fresh.starting_weights)
        fresh.start("heads", seed=1)
        fresh.set_learning_rate("heads", 0.01)
        for _ in range(2):
            fresh.step("heads")(*pooled_batch(fresh, [[1, 0, 1], [0, 1, 0]], [0, 1]))
        return fresh.layout.read()

    assert changed(two_steps(), two_steps()) == set()


KNOWN = np.array([[1, 1, 1]] + [[0, 0, 0]] * 3, np.float32)
WEIGHT, HEAVIER = (float(each[0]) for each in balancing(KNOWN))


@pytest.mark.parametrize(
    ("loss", "of_a_present_and_an_absent"),
    [
        ("plain", 2 * math.log(2)),
        ("asymmetric", 0.5 * math.log(2) - math.log(0.55) * 0.45**4),
        ("balanced", WEIGHT * (1 + HEAVIER) * math.log(2)),
        ("adjusted", math.log(3) + math.log(1.5)),  # one present of four, one of each added: odds of 2 to 4
    ],
)
def test_the_findings_are_trained_by_the_loss_that_is_asked_for(small_experiment, loss, of_a_present_and_an_absent):
    asked = small_experiment.training.loss.model_copy(update={"disease": loss})
    training = small_experiment.training.model_copy(update={"loss": asked})
    network = Network(small_experiment.model_copy(update={"training": training}))
    network.layout.write({name: np.zeros(network.layout.sizes[name], np.float32) for name in HEAD_SEGMENTS})
    network.start("heads", seed=1)
    network.know_labels(KNOWN, np.empty(0, np.int32))
    sums = network.step("heads")(*pooled_batch(network, [[1, 0, 1], [0, 1, 0]], [-1, -1])).numpy()
    assert sums[0] == pytest.approx(3 * of_a_present_and_an_absent, rel=1e-5)
    assert network.losses(
        {"disease": KNOWN, "cancer": np.full(4, -1)}, {"disease": 0 * KNOWN, "cancer": np.zeros((4, 2), np.float32)}
    )[0].mean().numpy() == pytest.approx(math.log(2))


def test_a_hospital_trains_the_softmax_of_the_classes_that_it_has_and_leaves_the_others_alone(small_experiment):
    asked = small_experiment.training.loss.model_copy(update={"cancer": "own"})
    training = small_experiment.training.model_copy(update={"loss": asked})
    labels = small_experiment.labels.model_copy(update={"cancer_classes": ("normal", "tumour", "benign")})
    network = Network(small_experiment.model_copy(update={"training": training, "labels": labels}))
    zeros = {name: np.zeros(network.layout.sizes[name], np.float32) for name in HEAD_SEGMENTS}
    batch = pooled_batch(network, np.full((2, 3), UNKNOWN), [0, 2])
    losses, biases = [], []
    for classes in ([0, 2, 0, -1], [-1]):
        network.layout.write(zeros)
        network.start("heads", seed=1)
        network.set_learning_rate("heads", 0.01)
        network.know_labels(KNOWN, np.array(classes, np.int32))
        losses.append(network.step("heads")(*batch).numpy()[2] / 2)
        network.step("heads")(*pooled_batch(network, np.full((2, 3), UNKNOWN), [0, 0]))
        biases.append(network.model.get_layer("cancer_logits").bias.numpy())
    assert losses == [pytest.approx(math.log(2)), pytest.approx(math.log(3))]  # two classes; no label tells which
    assert biases[0][1] == 0
    assert biases[1][1] < 0
