import math

import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.training.losses import (
    MARGIN,
    absent_classes,
    balancing,
    log_odds,
    masked_asymmetric_loss,
    masked_binary_cross_entropy,
    masked_sparse_cross_entropy,
)

NAN = float("nan")
ONES = np.ones(2, np.float32)


def test_binary_cross_entropy_is_the_mean_over_known_labels():
    loss = masked_binary_cross_entropy(
        tf.constant([[1.0, NAN], [0.0, 1.0]]), tf.constant([[0.0, 9.0], [2.0, -1.0]]), ONES
    )
    by_hand = math.log(2) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))
    assert float(loss.total) == pytest.approx(by_hand)
    assert float(loss.weight) == 3
    assert float(loss.mean()) == pytest.approx(by_hand / 3)


def test_an_unknown_label_gives_no_gradient():
    logits = tf.Variable([[0.5, 9.0], [2.0, -1.0]])
    with tf.GradientTape() as tape:
        loss = masked_binary_cross_entropy(tf.constant([[1.0, NAN], [0.0, NAN]]), logits, ONES).mean()
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    assert gradient[:, 1].tolist() == [0.0, 0.0]
    assert (gradient[:, 0] != 0).all()


def test_a_positive_weight_multiplies_present_findings_only():
    logits = tf.zeros((2, 1))
    weighted = masked_binary_cross_entropy(tf.constant([[1.0], [0.0]]), logits, tf.constant([3.0]))
    assert float(weighted.total) == pytest.approx(4 * math.log(2))
    assert float(weighted.weight) == 2


def test_without_a_known_label_the_loss_is_zero_and_its_gradient_too():
    logits = tf.Variable([[4.0, 5.0]])
    classes = tf.Variable([[4.0, 5.0]])
    with tf.GradientTape() as tape:
        disease = masked_binary_cross_entropy(tf.constant([[NAN, NAN]]), logits, ONES)
        cancer = masked_sparse_cross_entropy(tf.constant([-1]), classes)
        loss = disease.mean() + cancer.mean()
    assert float(loss) == 0
    assert (float(disease.weight), float(cancer.weight)) == (0, 0)
    for gradient in tape.gradient(loss, [logits, classes]):
        assert gradient.numpy().tolist() == [[0.0, 0.0]]


def test_sparse_cross_entropy_is_the_mean_over_known_rows():
    logits = tf.math.log(tf.constant([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.2, 0.3, 0.5]]))
    loss = masked_sparse_cross_entropy(tf.constant([0, -1, 2]), logits)
    assert float(loss.total) == pytest.approx(2 * math.log(2), abs=1e-6)
    assert float(loss.weight) == 2


def test_extreme_logits_stay_finite():
    loss = masked_binary_cross_entropy(tf.constant([[1.0]]), tf.constant([[-1000.0]]), tf.ones(1))
    assert float(loss.total) == pytest.approx(1000)


def test_the_asymmetric_loss_is_that_of_the_paper():
    labels, logits = tf.constant([[1.0, 0.0], [NAN, 0.0]]), tf.constant([[0.0, 0.0], [9.0, -9.0]])
    loss = masked_asymmetric_loss(labels, logits, tf.constant([2.0, 1.0]))
    shifted = 0.5 - MARGIN
    present, absent = 2 * 0.5 * math.log(2), -math.log(1 - shifted) * shifted**4
    assert float(loss.total) == pytest.approx(present + absent)  # an absent finding below the margin costs nothing
    assert float(loss.weight) == 3


def test_the_asymmetric_loss_has_a_gradient_everywhere():
    logits = tf.Variable([[-90.0, 90.0, -90.0, 90.0, -3.0]])
    with tf.GradientTape() as tape:
        loss = masked_asymmetric_loss(tf.constant([[0.0, 0.0, 1.0, 1.0, NAN]]), logits, tf.ones(5)).mean()
    gradient = tape.gradient(loss, logits).numpy()[0]
    assert np.isfinite(gradient).all()
    assert gradient[0] == gradient[4] == 0
    assert gradient[2] < 0 < gradient[1] + 1e-9


def test_labels_are_balanced_by_their_effective_numbers():
    labels = np.array([[1, 0, NAN]] + [[0, 0, NAN]] * 3, np.float32)
    weight, of_present = balancing(labels)
    effective = (1 - 0.999**3) / (1 - 0.999)  # of three absent labels; one present is one
    assert of_present[0] == pytest.approx(effective)
    assert weight[0] * (of_present[0] * 1 + 3) / 4 == pytest.approx(1)  # the mean weight of a label
    assert (weight[1:], of_present[1:]) == (pytest.approx([1, 1]), pytest.approx([1, 1]))


def test_classes_that_no_slice_is_known_to_be_of_have_no_part_in_the_softmax():
    assert absent_classes(np.array([2, -1, 0, 2]), 4).tolist() == [0, np.float32(-1e9), 0, np.float32(-1e9)]
    assert absent_classes(np.array([-1]), 2).tolist() == [0, 0]


def test_log_odds_are_of_the_known_labels_with_one_of_each_kind_added():
    labels = np.array([[1, NAN], [0, NAN], [0, NAN]], np.float32)
    assert log_odds(labels) == pytest.approx([math.log(2 / 3), 0])
