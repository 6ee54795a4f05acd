"""The arrays of a PyTorch checkpoint of before 1.6, read without PyTorch and without running anything that it names.

Such a file is five pickles (magic number, protocol, machine, tensors by name, storage keys) and then, for each key, the
number of its values and the values. A pickle may name any function; here it may name a dictionary, a tensor and two
kinds of values, and nothing that it names is called.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

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
