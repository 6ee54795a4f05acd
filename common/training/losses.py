"""Masked losses: an unknown label gives no loss, no gradient and no place in the denominator."""

from typing import NamedTuple

import tensorflow as tf


class LossSum(NamedTuple):
    """A sum of losses and the weight it is divided by; both scalars. A weight of 0 means that no label was known."""

    total: tf.Tensor
    weight: tf.Tensor

    def mean(self) -> tf.Tensor:
        """Mean loss; 0, without gradient, where no label was known."""
        return tf.math.divide_no_nan(self.total, self.weight)


def masked_binary_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, positive_weights: tf.Tensor) -> LossSum:
    """Binary cross-entropy over the known cells of ``labels`` (N, findings): 1 present, 0 absent, NaN unknown.

    ``positive_weights`` (findings,) multiplies the loss of present findings; the denominator is the number of known
    cells, so that weights shift the balance and not only the scale of one finding.
    """
    loss, mask = cells_binary(labels, logits, positive_weights)
    return LossSum(tf.reduce_sum(loss), tf.reduce_sum(mask))


def cells_binary(labels: tf.Tensor, logits: tf.Tensor, positive_weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same cell by cell, 0 where unknown, and a mask (…, findings) of those that are known."""
    known = tf.math.logical_not(tf.math.is_nan(labels))
    # NaN times 0 is NaN, in the gradient too: unknown labels are replaced before the loss, not only masked after it.
    safe = tf.where(known, labels, tf.zeros_like(labels))
    loss = tf.nn.weighted_cross_entropy_with_logits(safe, logits, positive_weights)
    mask = tf.cast(known, logits.dtype)
    return loss * mask, mask


def masked_sparse_cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> LossSum:
    """Categorical cross-entropy over the rows of ``labels`` (N,) that are not -1 (unknown); ``logits`` is (N, classes).

    ``smoothing`` spreads that share of the target evenly over all classes (Szegedy et al., CVPR 2016).
    """
    loss, mask = rows_categorical(labels, logits, smoothing)
    return LossSum(tf.reduce_sum(loss), tf.reduce_sum(mask))


def rows_categorical(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The same row by row, 0 where unknown, and a mask of those that are known."""
    known = labels >= 0
    safe = tf.where(known, labels, tf.zeros_like(labels))
    num_classes = logits.shape[-1]
    target = tf.one_hot(safe, num_classes, dtype=logits.dtype) * (1 - smoothing) + smoothing / num_classes
    loss = tf.nn.softmax_cross_entropy_with_logits(target, logits)
    mask = tf.cast(known, logits.dtype)
    return loss * mask, mask
