"""Folders, tables and pictures of a few tiny images, a small network, and TensorFlow as in a run."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fedthorax.common.config import Experiment
from fedthorax.common.hospital.images import ImageSet, SplitImages

from .. import dicom

Picture = NDArray[np.uint8]
FINDINGS, CLASSES, SIZE = ("Effusion", "Mass", "Nodule"), ("normal", "tumour"), 32


@pytest.fixture
def draw() -> Callable[..., Path]:
    """Writes a 6 x 4 picture; another ``seed``, another picture."""

    def write(path: Path, seed: int = 0, height: int = 4, width: int = 6) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines into a CSV file."""

    def write(*lines: str, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_dicom() -> Callable[..., Path]:
    return dicom.write_dicom


@pytest.fixture
def write_ct() -> Callable[..., Path]:
    return dicom.write_ct


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Writes a NIfTI volume of Hounsfield units (x to the right, y to the front, z to the head)."""

    def write(path: Path, units: np.ndarray, affine: np.ndarray | None = None, second: bool = False) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
        kind(units, np.eye(4) if affine is None else affine).to_filename(path)
        return path

    return write


@pytest.fixture(scope="package")
def small_experiment() -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": FINDINGS, "cancer_classes": CLASSES},
            "data": {"hospitals": {"north": source}, "central": source},
            "model": {
                "backbone": "MobileNetV3Small",
                "image_size": SIZE,
                "weights": "none",
                "batch_norm": "train",
                "encoder_units": 16,
                "feature_units": 8,
                "fusion_units": [16, 8],
                "dropout": 0.0,
            },
            "training": {"phases": [{"rounds": 1, "trainable": "all"}], "batch_size": 4, "threads": 2},
            "evaluation": {"batch_size": 4, "partners": 1},
        }
    )


def some_images(num_xray: int, num_ct: int, seed: int = 0) -> SplitImages:
    """Noise with labels; digests tell image sets apart, as hashes of real pixels would."""
    random = np.random.default_rng([seed, num_xray, num_ct])

    def images(count: int, targets: np.ndarray, kind: str) -> ImageSet:
        pixels = random.integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
        names = tuple(f"{kind}-{seed}-{row}" for row in range(count))
        return ImageSet(pixels, targets, tuple(map(Path, names)), names, names)

    findings = random.integers(0, 2, (num_xray, len(FINDINGS))).astype(np.float32)
    classes = random.integers(0, len(CLASSES), num_ct).astype(np.int32)
    return SplitImages(images(num_xray, findings, "xray"), images(num_ct, classes, "ct"))


@pytest.fixture(scope="session")
def draw_images():
    return some_images


@pytest.fixture(scope="package")
def network(small_experiment):
    """One network for the package, as in a process; a test sets the weights that it needs."""
    from fedthorax.common.training.network import Network

    network = Network(small_experiment)
    network.starting_weights = network.layout.read()
    return network


@pytest.fixture
def fresh(network):
    """The network with its starting weights."""
    network.layout.write(network.starting_weights)
    return network


@pytest.fixture
def store(fresh):
    from fedthorax.common.training.features import FeatureStore

    return FeatureStore(fresh, None)


def draw_chest(seed: int, side: int = 96) -> Picture:
    """Two dark lungs, a bright spine and abdomen, dark corners above, and smooth shadows of its own for every seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    picture = 0.55 + 0.3 / (1 + np.exp(-(y - 0.75) / 0.06)) + 0.3 * np.exp(-(((x - 0.5) / 0.1) ** 2))
    for middle in (0.28, 0.72):
        picture -= 0.4 * np.exp(-(((x - middle) / 0.15) ** 2) - ((y - 0.4) / 0.24) ** 2)
    picture -= 0.5 * np.clip(0.25 - y, 0, 1) / 0.25 * (np.abs(x - 0.5) > 0.2)
    shadows = Image.fromarray(rng.normal(0, 1, (30, 30)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    picture += 0.09 * np.asarray(shadows)
    return np.clip(255 * (picture - 0.1), 5, 250).astype(np.uint8)


def draw_body(seed: int, side: int = 96) -> Picture:
    """A bright ellipse in black air, with organs of its own for every seed: an axial slice of nobody."""
    rng = np.random.default_rng(1000 + seed)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    organs = Image.fromarray(rng.normal(0, 1, (10, 10)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    inside = (x / 0.42) ** 2 + (y / 0.36) ** 2 < 1
    return np.where(inside, np.clip(150 + 40 * np.asarray(organs), 20, 250), 2).astype(np.uint8)


@pytest.fixture(scope="session")
def chest() -> Callable[..., Picture]:
    return draw_chest


@pytest.fixture(scope="session")
def body() -> Callable[..., Picture]:
    return draw_body


@pytest.fixture(scope="session")
def browser():
    """Debian's chromium, or the browser that FEDTHORAX_CHROMIUM names; none is downloaded."""
    from playwright import sync_api as playwright

    found = os.environ.get("FEDTHORAX_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        words = "there is no chromium here (apt-get install chromium, or name one in FEDTHORAX_CHROMIUM)"
        if os.environ.get("FEDTHORAX_BROWSER") == "required":
            pytest.fail(f"{words}: no page can be opened")
        pytest.skip(f"{words}: no page is opened")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()
