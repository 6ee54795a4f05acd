"""The proximal term of FedProx: a pull back to the model that the round began with.

Li et al., "Federated Optimization in Heterogeneous Networks", MLSys 2020: the hospital minimises its loss plus
weight / 2 times the *squared* distance to the common model, whose gradient is weight times the difference.
"""

from collections.abc import Sequence

import tensorflow as tf


def proximal_gradients(
    gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Tensor], anchors: Sequence[tf.Tensor], weight: float
) -> list[tf.Tensor | None]:
    """Gradients of the loss with the term in it; None stays None: nothing moves such a variable away."""
    return [
        gradient if gradient is None else gradient + weight * (tf.convert_to_tensor(variable) - anchor)
        for gradient, variable, anchor in zip(gradients, variables, anchors, strict=True)
    ]
