"""The batches of an epoch that trains on images, gathered and augmented ahead of the step by threads of their own."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import tensorflow as tf

from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.pairing import Indices, Pairs
from fedthorax.common.training.batches import batches, network_inputs, targets_of
from fedthorax.common.training.network import Network

_THREADS = 2
_AHEAD = 3  # batches that are there or being made while a step runs


def image_batches(network: Network, train: SplitImages, pairs: Pairs, seed: int) -> Iterator[list[Any]]:
    """Batches of one epoch as ``Network.step_on_images`` takes them; the same ``seed`` gives the same numbers.

    No ``tf.data``: to build and start its pipeline takes a quarter of a second, for each epoch of each hospital, and
    what it would overlap is one gathering and one traced function.
    """
    pixels = {name: train.of(name).images for name in network.modalities}

    def prepared(number: int, rows: Indices) -> list[Any]:
        x, c = pairs.xray[rows], pairs.ct[rows]
        gathered = network_inputs(network, pixels, x, c)
        images = network.augmented(tf.constant([seed, number], tf.int32), *gathered[: len(pixels)])
        return [*images, *gathered[len(pixels) :], *targets_of(train, x, c)]

    runs = enumerate(batches(len(pairs.xray), network.experiment.training.batch_size))
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="batches") as threads:
        ahead: deque[Future[list[Any]]] = deque()
        while True:
            ahead.extend(threads.submit(prepared, *run) for run in islice(runs, _AHEAD - len(ahead)))
            if not ahead:
                return
            yield ahead.popleft().result()
