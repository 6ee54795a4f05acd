"""What the libraries are told before they are imported: no telemetry, no chatter, one backend.

Nothing here imports them. ``setdefault`` leaves a choice that the person made in the shell.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from fedthorax.common.ground.collector import collector_off

_DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "ERROR",
    "GLOG_minloglevel": "2",
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns on every machine without an accelerator
    "MPLBACKEND": "Agg",  # pictures go into files; a machine in a hospital's basement has no display
}


def quiet_libraries() -> None:
    """Set the environment for this process and those it starts. Call before TensorFlow, Flower or Ray is imported."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["KERAS_BACKEND"] = "tensorflow"  # ~/.keras/keras.json may name another one


def import_tensorflow() -> None:
    """Import TensorFlow, whose native code writes to stderr before any log level counts."""
    with _native_stderr_closed(), collector_off():
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    # Flower's simulation asks for deprecation warnings; it must have done so before they are ignored here.
    import flwr.simulation  # noqa: F401

    # Keras converts TensorFlow variables with np.array, whose `copy` TensorFlow does not know yet.
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
    # AutoGraph marks the nodes of a syntax tree in a way that Python 3.13 is about to forbid.
    warnings.filterwarnings("ignore", ".* got an unexpected keyword argument '___pyct_anno'", DeprecationWarning)


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """File descriptor 2 goes nowhere for a while; Python's own sys.stderr with it."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
