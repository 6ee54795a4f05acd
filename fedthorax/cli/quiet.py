"""What the libraries are told before they are imported: no telemetry, no chatter, one backend.

Nothing here imports them. ``setdefault`` leaves a choice that the person made in the shell.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from fedthorax.common.ground.machine import collector_off, native_stderr_closed

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
    if _QuietImport not in sys.meta_path:
        sys.meta_path.insert(0, _QuietImport)


class _QuietImport:
    """Imports TensorFlow, whose native code writes to stderr before any log level counts, whoever asks for it first."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in ("keras", "tensorflow"):  # the first imports the second
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                with native_stderr_closed(), collector_off():
                    load(module)

            spec.loader.exec_module = quietly  # type: ignore[method-assign]
        return spec
