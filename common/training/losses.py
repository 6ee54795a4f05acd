"""Masked losses: an unknown label gives no loss, no gradient and no place in the denominator.

For rare findings there are three others beside plain cross-entropy.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# As the papers have them: Ridnik et al., ICCV 2021, section 3; Cui et al., CVPR 2019, section 5.
FOCUS_PRESENT, FOCUS_ABSENT, MARGIN = 1.0, 4.0, 0.05
BETA = 0.999


class LossSum(NamedTuple):
    """A sum of losses and the weight it is divided by; both scalars. A weight of 0 means that no label was known."""

    total: tf.Tensor
    weight: tf.Tensor

    def mean(self) -> tf.Tensor:
        """Mean loss; 0, without gradient, where no label was known."""
        return tf.math.divide_no_nan(self.total, self.weight)


def masked_binary_cross_entropy(
    labels: tf.Tensor, logits: tf.Tensor, positive_weights: tf.Tensor, weights: tf.Tensor | None = None
) -> LossSum:
    """Binary cross-entropy over the known cells of ``labels`` (N, findings): 1 present, 0 absent, NaN unknown.

    ``positive_weights`` (findings,) multiplies the loss of present findings; the denominator is the number of known
    cells, so that weights shift the balance and not only the scale of one finding. ``weights`` (findings,) multiply
    the loss of both.
    """
    loss, mask = cells_binary(labels, logits, positive_weights)
    if weights is not None:
        loss *= weights
    return LossSum(tf.reduce_sum(loss), tf.reduce_sum(mask))


def cells_binary(labels: tf.Tensor, logits: tf.Tensor, positive_weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same cell by cell, 0 where unknown, and a mask (…, findings) of those that are known."""
    known = tf.math.logical_not(tf.math.is_nan(labels))
    # NaN times 0 is NaN, in the gradient too: unknown labels are replaced before the loss, not only masked after it.
    safe = tf.where(known, labels, tf.zeros_like(labels))
    loss = tf.nn.weighted_cross_entropy_with_logits(safe, logits, positive_weights)
    mask = tf.cast(known, logits.dtype)
    return loss * mask, mask


def masked_asymmetric_loss(labels: tf.Tensor, logits: tf.Tensor, positive_weights: tf.Tensor) -> LossSum:
    """As above, but a label that the network is already right about counts less, an absent one much less, and nothing
    where its probability is below MARGIN (Ridnik et al., "Asymmetric Loss For Multi-Label Classification").
    """
    known = tf.math.logical_not(tf.math.is_nan(labels))
    safe = tf.where(known, labels, tf.zeros_like(labels))
    probability = tf.math.sigmoid(logits)
    shifted = tf.math.maximum(probability - MARGIN, 0.0)
    # log(1 - shifted) is safe: shifted is at most 1 - MARGIN. The slope of a power of 0 is not, hence the floor.
    absent = -tf.math.log1p(-shifted) * tf.pow(tf.math.maximum(shifted, 1e-8), FOCUS_ABSENT)
    present = -tf.math.log_sigmoid(logits) * tf.pow(tf.math.maximum(1 - probability, 1e-8), FOCUS_PRESENT)
    loss = safe * positive_weights * present + (1 - safe) * absent
    mask = tf.cast(known, logits.dtype)
    return LossSum(tf.reduce_sum(loss * mask), tf.reduce_sum(mask))


def balancing(labels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """By finding the weight of an absent label, and by how much more a present one weighs: the inverse of their
    effective numbers (Cui et al., "Class-Balanced Loss Based on Effective Number of Samples"), scaled so that the
    labels of a finding weigh 1 in the mean; 1 and 1 where all of them are alike."""
    present, absent = _counts(labels)
    of_present, of_absent = ((1 - BETA) / (1 - BETA ** np.maximum(count, 1)) for count in (present, absent))
    mean = (of_present * present + of_absent * absent) / np.maximum(present + absent, 1)
    alike = (present == 0) | (absent == 0)
    weight = np.where(alike, 1.0, of_absent / np.where(alike, 1.0, mean))
    return weight.astype(np.float32), np.where(alike, 1.0, of_present / of_absent).astype(np.float32)


def log_odds(labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(findings,) of a label being present, one of each kind added (Menon et al., "Long-tail learning via logit
    adjustment")."""
    present, absent = _counts(labels)
    return np.log((present + 1) / (absent + 1)).astype(np.float32)


def absent_classes(labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """(classes,) what is added to the logits so that classes without a label in ``labels`` (N,), -1 where unknown, have
    no part in the softmax; nothing where no label is known."""
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    return np.where((counts == 0) & counts.any(), np.float32(-1e9), np.float32(0))


def _counts(labels: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (labels == 1).sum(axis=0).astype(np.float64), (labels == 0).sum(axis=0).astype(np.float64)


def masked_sparse_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> LossSum:
    """Categorical cross-entropy over the rows of ``labels`` (N,) that are known, not -1; ``logits`` is (N, classes)."""
    loss, mask = rows_categorical(labels, logits)
    return LossSum(tf.reduce_sum(loss), tf.reduce_sum(mask))


def rows_categorical(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The same row by row, 0 where unknown, and a mask of those that are known."""
    known = labels >= 0
    safe = tf.where(known, labels, tf.zeros_like(labels))
    loss = tf.nn.softmax_cross_entropy_with_logits(tf.one_hot(safe, logits.shape[-1], dtype=logits.dtype), logits)
    mask = tf.cast(known, logits.dtype)
    return loss * mask, mask
