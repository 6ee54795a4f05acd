"""The patients that the attacks are about: labels and kept features of their images, without the pixels."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.leakage.found import Units
from fedthorax.common.metrics.subgroups import groups_of
from fedthorax.common.model.dual import MODALITIES
from fedthorax.common.records.records import Attributes, Split
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.network import Network

Rows = NDArray[np.int64]
Members = NDArray[np.bool_]
Versions = Sequence[NDArray[np.float32]]
Part = tuple[str, Split, ImageSet, Versions]
_TAKEN: tuple[Split, ...] = ("train", "test")  # validation images choose the round: neither in nor quite out
_FACTS = ("paths", "patients", "digests", "attributes", "named")
_UNTOLD = {"attributes": Attributes(), "named": True}  # where a hospital's images say nothing
_WORDS = {"age_years": "age"}


@dataclass(frozen=True)
class Pool:
    """P patients. ``hospitals`` and ``trained`` (P,) say of each where he is, and whether he is in the training split
    there; ``sets`` are the images by modality, without pixels, ``rows`` the patient of each, ``features`` the versions
    (N, D) that training takes. ``left_out`` images have the same pixels as an image of another patient."""

    hospitals: tuple[str, ...]
    trained: Members
    sets: Mapping[str, ImageSet]
    rows: Mapping[str, Rows]
    features: Mapping[str, Versions]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.hospitals)

    def images_of(self, members: Members) -> SplitImages:
        """What is trained on where these patients are in."""
        chosen = {name: np.flatnonzero(members[rows]) for name, rows in self.rows.items()}
        return SplitImages(**{name: _rows_of(images, chosen[name]) for name, images in self.sets.items()})

    def has(self, modality: str) -> Members:
        """The patients with an image of this kind."""
        return np.bincount(self.rows[modality], minlength=len(self)) > 0

    def by_patient(self, modality: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means (P, L) over each patient's images of ``values`` (N, L), NaN where there is nothing to average."""
        known, rows = ~np.isnan(values), self.rows[modality]
        sums, counts = np.zeros((len(self), values.shape[1])), np.zeros((len(self), values.shape[1]))
        np.add.at(sums, rows, np.where(known, values, 0.0))
        np.add.at(counts, rows, known)
        return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)

    def units(self, modality: str) -> Units:
        """``patients``, or ``images`` where nobody knows of any whose it is."""
        named = self.sets[modality].named
        return "images" if named and not any(named) else "patients"

    def groups(self, modality: str, labels: Sequence[str]) -> dict[str, Members]:
        """The patients of each sex, age, view, label and hospital, by any of their images."""
        images, rows = self.sets[modality], self.rows[modality]
        columns: dict[str, NDArray[np.bool_]] = {}
        for attribute, cells in groups_of(images.attributes).items() if images.attributes else ():
            for value in sorted({cell for cell in cells if cell is not None}):
                columns[f"{_WORDS.get(attribute, attribute)} {value}"] = np.array([cell == value for cell in cells])
        targets = images.targets if images.targets.ndim == 2 else images.targets[:, None] == np.arange(len(labels))
        columns |= {label: targets[:, place] == 1 for place, label in enumerate(labels)}
        if modality == "xray":
            columns["no finding"] = (targets == 0).all(axis=1)
        found = {name: np.bincount(rows, weights=chosen, minlength=len(self)) > 0 for name, chosen in columns.items()}
        names = dict.fromkeys(self.hospitals)
        return found | {f"hospital {name}": np.array([at == name for at in self.hospitals]) for name in names}

    def with_canaries(self, modality: str, number: int, seed: int) -> "Pool":
        """As many patients more, who do not exist: features drawn with the mean and the covariance of the images' own,
        under labels drawn at random. Only a model that was trained on one can answer with its labels."""
        random, images, features = np.random.default_rng(seed), self.sets[modality], self.features[modality]
        mean = features[0].mean(axis=0)
        mixed = random.normal(size=(number, len(images))).astype(np.float32) / np.float32(len(images) ** 0.5)
        drawn = mean + mixed @ (features[0] - mean)
        labels = random.integers(0, 2, (number, *images.targets.shape[1:]))
        if images.targets.ndim == 1:
            labels = random.integers(0, max(int(images.targets.max()) + 1, 2), number)
        names = tuple(f"canary {place}" for place in range(number))
        more = replace(
            _rows_of(images, np.arange(len(images))),
            targets=np.concatenate([images.targets, labels.astype(images.targets.dtype)]),
            paths=images.paths + (images.paths[0],) * number,
            patients=images.patients + names,
            digests=images.digests + names,
            attributes=(),
            named=(),
        )
        return Pool(
            self.hospitals + names,
            np.concatenate([self.trained, np.zeros(number, bool)]),
            {**self.sets, modality: more},
            {**self.rows, modality: np.concatenate([self.rows[modality], len(self) + np.arange(number)])},
            {**self.features, modality: [np.concatenate([version, drawn]) for version in features]},
        )


class PoolFeatures(FeatureStore):
    """The features of a pool's images, whatever part of them is asked for."""

    def __init__(self, network: Network, pool: Pool) -> None:
        super().__init__(network, None)
        self._pool = pool
        self._rows = {
            name: {digest: row for row, digest in enumerate(images.digests)} for name, images in pool.sets.items()
        }

    def _found(self, modality: str, images: ImageSet, version: int, *_: Any, **__: Any) -> NDArray[np.float32]:
        rows = [self._rows[modality][digest] for digest in images.digests]
        return np.asarray(self._pool.features[modality][version][rows])


def gather(experiment: Experiment, sites: Sequence[str], store: FeatureStore, progress: Progress | None = None) -> Pool:
    """The training and test images of the hospitals ``sites``, and the test images of the server where it is one.

    Raises what ``load_hospital`` raises.
    """
    augmentation = experiment.training.augmentation
    count = 1 + (augmentation.feature_versions if augmentation.enabled else 0)
    parts: dict[str, list[Part]] = {name: [] for name in MODALITIES}
    for site in sites:
        loaded = load_hospital(experiment, site, progress)
        for split in _TAKEN if site != CENTRAL else _TAKEN[1:]:
            for name in MODALITIES:
                images = loaded.splits[split].of(name)
                features = store.versions(name, images, count, keep=True, progress=progress)
                parts[name].append((site, split, images, features))
    return joined(parts)


def joined(parts: Mapping[str, Sequence[Part]]) -> Pool:
    """One pool of the parts (site, split, images, features) of each modality; training images come first."""
    sets, features, owners = dict[str, ImageSet](), dict[str, Versions](), dict[str, list[tuple[str, str]]]()
    trained, left_out = set[tuple[str, str]](), 0
    for name, of_kind in parts.items():
        of_kind = sorted(of_kind, key=lambda part: part[1] != "train")
        whole = _together([images for _, _, images, _ in of_kind])
        whose = [(site, patient) for site, _, images, _ in of_kind for patient in images.patients]
        splits = [split for _, split, images, _ in of_kind for _ in images.patients]
        # A copy of a member's picture would be found as a member, and rightly so.
        first = np.sort(np.unique(np.array(whole.digests, np.str_), return_index=True)[1])
        left_out += len(whose) - len(first)
        owners[name] = [whose[row] for row in first]
        trained |= {whose[row] for row in first if splits[row] == "train"}
        sets[name] = replace(_rows_of(whole, first), patients=tuple("/".join(owner) for owner in owners[name]))
        features[name] = [np.concatenate(of_all)[first] for of_all in zip(*(own for *_, own in of_kind), strict=True)]
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(itertools.chain(*owners.values())))}
    return Pool(
        tuple(site for site, _ in numbers),
        np.array([owner in trained for owner in numbers], bool),
        sets,
        {name: np.array([numbers[owner] for owner in of], np.int64) for name, of in owners.items()},
        features,
        left_out,
    )


def _rows_of(images: ImageSet, rows: Rows) -> ImageSet:
    facts: dict[str, Any] = {
        name: tuple(values[row] for row in rows) if (values := getattr(images, name)) else () for name in _FACTS
    }
    return ImageSet(np.zeros((len(rows), 0, 0, 3), np.uint8), images.targets[rows], **facts)


def _together(sets: Sequence[ImageSet]) -> ImageSet:
    facts: dict[str, Any] = {
        name: tuple(one for images in sets for one in getattr(images, name) or (_UNTOLD.get(name),) * len(images))
        for name in _FACTS
    }
    targets = np.concatenate([images.targets for images in sets])
    return ImageSet(np.zeros((len(targets), 0, 0, 3), np.uint8), targets, **facts)
