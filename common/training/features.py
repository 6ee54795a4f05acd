"""Pooled features of the backbones, computed once for as long as images and backbone stay the same."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import PRIVATE, replacing
from fedthorax.common.hospital.images import ImageSet
from fedthorax.common.model.segments import weights_digest
from fedthorax.common.training.augmentation import view_of
from fedthorax.common.training.batches import batches
from fedthorax.common.training.network import Network

Progress = Callable[[int, int], None]


class FeatureStore:
    """Keeps the newest features of each image set in memory and, given a folder, on disk for later runs.

    Features are keyed by what they depend on: the decoded pixels, their preparation, and the backbone's weights. Files
    hold numbers derived from patients' images: they are readable by their owner only and never leave the site.
    """

    def __init__(self, network: Network, folder: Path | None) -> None:
        self._network = network
        self._folder = folder
        experiment = network.experiment
        trained = any(phase.trains_backbones for phase in experiment.training.phases)
        self._frozen = not trained and "all" not in experiment.personalisation.fine_tune
        self._newest: dict[tuple[str, str, int], tuple[str, NDArray[np.float32]]] = {}
        self._backbones: dict[tuple[str, int], tuple[NDArray[np.float32], str]] = {}  # weights and their key

    def pooled(self, modality: str, images: ImageSet, keep: bool = False) -> NDArray[np.float32]:
        """The features of the images as they are."""
        return self.versions(modality, images, 1, keep)[0]

    def versions(
        self,
        modality: str,
        images: ImageSet,
        count: int,
        keep: bool = False,
        progress: Progress | None = None,
        top: int = 0,
    ) -> list[NDArray[np.float32]]:
        """Features (N, D) of the versions 0 … ``count`` - 1 of ``images`` under the present weights; ``keep`` also
        writes them to the folder. With ``top`` the features below so many of the last blocks.

        ``keep`` is for frozen backbones: while a backbone is trained every round has other features, and files of them
        would only pile up. Where the experiment never trains one all are kept. Version 0 is the image as it is, 1, 2, …
        are changed as ``training.augmentation`` says: how depends on the image's pixels and the version alone, so that
        every run finds the same ones.
        """
        key = self._backbone_key(modality, top)
        return [self._found(modality, images, version, key, keep, progress, top) for version in range(count)]

    def _backbone_key(self, modality: str, top: int) -> str:
        # Asked for in every task, but in a phase of the heads the weights are those of before: to compare them costs a
        # fraction of a hash, and unlike a count of changes it cannot miss one.
        flat = self._network.weights_below(modality, top)
        known = self._backbones.get((modality, top))
        if known is None or not np.array_equal(known[0].view(np.uint32), flat.view(np.uint32)):
            known = self._backbones[modality, top] = flat, weights_digest({f"{modality}.backbone": flat})
        return known[1]

    def _found(
        self,
        modality: str,
        images: ImageSet,
        version: int,
        backbone_key: str,
        keep: bool,
        progress: Progress | None,
        top: int,
    ) -> NDArray[np.float32]:
        image_key = self._image_key(images, version)
        known = self._newest.get((modality, image_key, top))
        if known is not None and known[0] == backbone_key:
            return known[1]
        file = self._file(modality, image_key, backbone_key)
        features = _read(file, (len(images), *self._network.feature_shape(modality, top))) if file else None
        if features is None:
            features = self._compute(modality, images, version, progress, top)
            if file and (keep or self._frozen):
                _write(file, features)
        self._newest[modality, image_key, top] = (backbone_key, features)
        return features

    def _compute(
        self, modality: str, images: ImageSet, version: int, progress: Progress | None, top: int
    ) -> NDArray[np.float32]:
        features = np.empty((len(images), *self._network.feature_shape(modality, top)), np.float32)
        done = 0
        for rows in batches(len(images), self._network.experiment.evaluation.batch_size):
            pictures = images.images[rows].astype(np.float32)
            digests = [images.digests[row] for row in rows]
            config = self._network.experiment.training.augmentation
            pictures = view_of(pictures, digests, config, version, may_flip=modality == "ct")
            features[rows] = self._network.features(modality, top)(pictures).numpy()
            done += len(rows)
            if progress:
                progress(done, len(images))
        return features

    def _image_key(self, images: ImageSet, version: int) -> str:
        experiment = self._network.experiment
        text = f"{experiment.model.image_size} {experiment.data.aspect} {' '.join(images.digests)}"
        if version:
            how = experiment.training.augmentation.model_dump_json(exclude={"feature_versions"})
            text += f" version {version} {how}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _file(self, modality: str, image_key: str, backbone_key: str) -> Path | None:
        if self._folder is None:
            return None
        key = hashlib.sha256(
            f"{self._network.experiment.model.backbone} {image_key} {backbone_key}".encode()
        ).hexdigest()
        return self._folder / f"features-{modality}-{key[:32]}.npy"


def _read(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    if not file.is_file():
        return None
    # Mapped: the versions of many images need not fit into memory.
    features: NDArray[np.float32] = np.load(file, mmap_mode="r", allow_pickle=False)
    return features if features.shape == shape else None


def _write(file: Path, features: NDArray[np.float32]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file, PRIVATE, durable=False) as stream:
        np.save(stream, features)
