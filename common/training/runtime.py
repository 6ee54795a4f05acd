"""TensorFlow of this process: threads and determinism, set once, before its first operation."""

from typing import Any

import tensorflow as tf

from fedthorax.common.ground.machine import num_cpus

_threads_set: int | None = None
# Passes over a graph that take 2 to 3 s of the twin network's first step on a processor, and make no later one faster
# (docs/performance.md). Those that save memory and lay out stay.
_NEEDLESS_PASSES = (
    "arithmetic_optimization",
    "dependency_optimization",
    "function_optimization",
    "loop_optimization",
    "remapping",
    "shape_optimization",
)


def accelerators_here() -> list[Any]:
    found: list[Any] = tf.config.list_physical_devices("GPU")
    return found


def prepare_tensorflow(threads: int | None) -> int:
    """Fix the number of threads and switch on deterministic kernels; returns the number of threads.

    The same machine, threads, data and seed then give the same weights bit by bit. ``None`` means the cores this
    process may use: Ray sets OMP_NUM_THREADS behind our back, and sums over another number of threads have other bits.
    Raises RuntimeError when this process already runs with another number.
    """
    global _threads_set
    wanted = threads or num_cpus()
    if _threads_set is None:
        tf.config.threading.set_intra_op_parallelism_threads(wanted)
        tf.config.threading.set_inter_op_parallelism_threads(2)
        tf.config.experimental.enable_op_determinism()
        accelerators = accelerators_here()
        for device in accelerators:
            tf.config.experimental.set_memory_growth(device, True)
        if not accelerators:  # nobody has measured there
            tf.config.optimizer.set_experimental_options(dict.fromkeys(_NEEDLESS_PASSES, False))
        _threads_set = wanted
    elif _threads_set != wanted:
        raise RuntimeError(
            f"training.threads: this process already runs TensorFlow with {_threads_set} threads, not {wanted}"
        )
    return wanted
