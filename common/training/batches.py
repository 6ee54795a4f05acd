"""What a step is given: an epoch's pairs in even batches, as rows of images or pooled features, with their labels."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.model.dual import MODALITIES
from fedthorax.common.pairing import ABSENT, Indices, Pairs
from fedthorax.common.records.records import UNKNOWN_CLASS
from fedthorax.common.training.network import Network


def batches(count: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Positions 0…count-1 in runs of at most ``size`` whose lengths differ by one at most.

    Even runs, because a last batch of one or two pairs would spoil the batch normalisation of a whole epoch.
    """
    if count:
        yield from np.array_split(np.arange(count), -(-count // size))


def network_inputs(network: Network, values: Mapping[str, NDArray[Any]], xray: Indices, ct: Indices) -> list[Any]:
    """Rows of ``values`` (images or pooled features, by modality) for some pairs, and with tokens what is present
    (N, 1) of X-ray and of CT; an absent side is filled with whatever is at hand."""
    rows = {"xray": xray, "ct": ct}
    return [rows_of(values[name], rows[name]) for name in network.modalities] + presence_of(network, xray, ct)


def presence_of(network: Network, xray: Indices, ct: Indices) -> list[NDArray[np.float32]]:
    """What is present (N, 1) of X-ray and of CT; nothing for a network without tokens."""
    return [(rows != ABSENT).astype(np.float32)[:, None] for rows in (xray, ct)] if network.tokens else []


def rows_of(values: NDArray[Any], rows: Indices) -> NDArray[Any]:
    """``values[rows]``, where there may be nothing to take from: then zeros."""
    return values[rows] if len(values) else np.zeros((len(rows), *values.shape[1:]), values.dtype)


def targets_of(train: SplitImages, xray: Indices, ct: Indices) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Labels of some pairs; those of an absent side are unknown."""
    disease, cancer = rows_of(train.xray.targets, xray), rows_of(train.ct.targets, ct)
    return (
        np.where((xray == ABSENT)[:, None], np.float32(np.nan), disease),
        np.where(ct == ABSENT, np.int32(UNKNOWN_CLASS), cancer),
    )


_THREADS = 2
_AHEAD = 3  # batches that are there or being made while a step runs


Versions = Sequence[NDArray[np.float32]]  # the features of an image set, one array a version


def image_batches(
    network: Network, train: SplitImages, pairs: Pairs, seed: int, kept: Mapping[str, Versions] | None = None
) -> Iterator[list[Any]]:
    """Batches of one epoch as ``Network.step`` takes them; the same ``seed`` gives the same numbers. In place of a
    modality's images stand features that are ``kept``, of a version at random.

    No ``tf.data``: to build and start its pipeline takes a quarter of a second, for each epoch of each hospital, and
    what it would overlap is one gathering and one traced function.
    """
    kept = kept or {}
    pixels = {name: train.of(name).images for name in network.modalities if name not in kept}
    size = network.experiment.model.image_size
    none = np.zeros((0, size, size, 3), np.uint8)
    versions = max(map(len, kept.values()), default=1)
    chosen = dict(zip(MODALITIES, np.random.default_rng(seed).integers(versions, size=(2, len(pairs))), strict=True))

    def prepared(number: int, rows: Indices) -> list[Any]:
        x, c = pairs.xray[rows], pairs.ct[rows]
        sides = {"xray": x, "ct": c}
        given = {name: _versions_of(of, sides[name], chosen[name][rows]) for name, of in kept.items()}
        if pixels:
            images = [rows_of(pixels[name], sides[name]) if name in pixels else none for name in network.modalities]
            changed = network.augmented(tf.constant([seed, number], tf.int32), *images)
            given = dict(zip(network.modalities, changed, strict=True)) | given
        inputs = [given[name] for name in network.modalities]
        return [*inputs, *presence_of(network, x, c), *targets_of(train, x, c)]

    runs = enumerate(batches(len(pairs.xray), network.experiment.training.batch_size))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="batches") as threads:
        ahead: deque[Future[list[Any]]] = deque()
        while True:
            ahead.extend(threads.submit(prepared, *run) for run in islice(runs, _AHEAD - len(ahead)))
            if not ahead:
                return
            yield ahead.popleft().result()


def _versions_of(features: Versions, rows: Indices, versions: Indices) -> NDArray[np.float32]:
    """Row ``rows[i]`` of ``features[versions[i]]`` for each i; zeros where there is no image at all."""
    if not len(features[0]):
        return rows_of(features[0], rows)
    return np.stack([features[version][row] for row, version in zip(rows, versions, strict=True)])
