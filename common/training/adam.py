"""Adam with decoupled weight decay, one kernel for each variable.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; Loshchilov and Hutter, "Decoupled Weight Decay
Regularization", ICLR 2019. The arithmetic is that of ``keras.optimizers.Adam``, which writes it as some twenty graph
nodes for each of the twin network's hundreds of variables, and every one of them is looked at in each graph pass before
the first step.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
_DECAYED = ("kernel", "depthwise_kernel")  # names of the variables that weight decay is for


class Adam:
    """Steps of ``variables``. ``learning_rate`` is a variable too, and not part of what ``reset`` forgets."""

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        learning_rate: float,
        clip_norm: float | None,
        weight_decay: float,
        factors: Sequence[float] | None = None,
        warmup: int = 0,
    ) -> None:
        """``clip_norm`` is the largest norm of all gradients together; None: no clipping. ``factors`` of the learning
        rate, by variable; None: 1. Over the first ``warmup`` steps since a reset the learning rate rises to its height
        (Goyal et al., "Accurate, Large Minibatch SGD", 2017)."""
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float32, trainable=False)
        self._clip_norm, self._weight_decay, self._warmup = clip_norm, weight_decay, warmup
        self._variables = [variable.value for variable in variables]
        self._factors = factors or [1.0] * len(variables)
        self._decays = [variable.name in _DECAYED for variable in variables]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._means, self._squares = (
            [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self._variables] for _ in range(2)
        )

        self._shapes = [tf.constant(variable.shape.as_list(), tf.int32) for variable in self._variables]

    def reset(self) -> None:
        """Forget all earlier steps."""
        self._steps.assign(0)
        nothing = tf.constant(0.0)
        for moment, shape in zip((*self._means, *self._squares), 2 * self._shapes, strict=True):
            # The bare operations, as for the weights in SegmentLayout.
            tf.raw_ops.AssignVariableOp(resource=moment.handle, value=tf.raw_ops.Fill(dims=shape, value=nothing))

    def apply(self, gradients: Sequence[tf.Tensor | None]) -> None:
        """One step. A variable whose gradient is None stays as it is."""
        step = tf.cast(self._steps.assign_add(1), tf.float32)
        rate = tf.convert_to_tensor(self.learning_rate)
        if self._warmup:
            rate *= tf.minimum(1.0, step / self._warmup)
        # Made once: a number given to each kernel would be a node of the graph each time.
        scalars = {
            "beta1_power": tf.pow(BETA_1, step),
            "beta2_power": tf.pow(BETA_2, step),
            "beta1": tf.constant(BETA_1),
            "beta2": tf.constant(BETA_2),
            "epsilon": tf.constant(EPSILON),
        }
        scale = self._clipping(gradients)
        rates = {factor: rate if factor == 1 else rate * factor for factor in self._factors}
        for variable, factor, decays, mean, square, gradient in zip(
            self._variables, self._factors, self._decays, self._means, self._squares, gradients, strict=True
        ):
            if gradient is None:
                continue
            if self._weight_decay and decays:
                variable.assign_sub(variable * (self._weight_decay * rates[factor]))
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=mean.handle,
                v=square.handle,
                lr=rates[factor],
                grad=gradient if scale is None else gradient * scale,
                **scalars,
            )

    def _clipping(self, gradients: Sequence[tf.Tensor | None]) -> tf.Tensor | None:
        """The factor that brings the norm of all gradients down to ``clip_norm``; NaN where the norm is not finite."""
        if self._clip_norm is None:
            return None
        halves = tf.stack([tf.nn.l2_loss(gradient) for gradient in gradients if gradient is not None])
        norm = tf.sqrt(2 * tf.reduce_sum(halves))
        finite = norm - norm  # 0, or NaN, which shows in every weight
        return tf.minimum(1.0, self._clip_norm / norm) + finite
