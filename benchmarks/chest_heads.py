"""Heads trained on the kept features of one folder of X-rays, dealt out anew with every seed: what studies of selection
and of losses share, so that a run of three hospitals takes seconds a round.

Patients are dealt out: 40 % test, 10 % central validation, the others to three hospitals, each of which keeps a tenth
for its own validation. Steps, losses, average and schedule are those of the product; messages and files are left out.
A study is one JSON file, written after every run, and goes on where it stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

import tensorflow as tf  # noqa: E402  after it has been told to be quiet

from fedthorax.common.algorithms.branchwise import FederatedAverage  # noqa: E402
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.ground.atomic_write import write_text  # noqa: E402
from fedthorax.common.ground.seeds import derive_seed  # noqa: E402
from fedthorax.common.hospital.site import load_hospital  # noqa: E402
from fedthorax.common.model.dual import draw_weights  # noqa: E402
from fedthorax.common.records.records import SPLITS  # noqa: E402
from fedthorax.common.training.batches import batches  # noqa: E402
from fedthorax.common.training.features import FeatureStore  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.training.schedule import plan_round  # noqa: E402

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
HOSPITALS = 3
Moments = Literal["anew", "at home", "averaged"]
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def experiment_of(folder: Path, weights: str, size: int, **training: Any) -> Experiment:
    """X-rays of ``folder`` alone, at one hospital that is then dealt out."""
    return Experiment.model_validate(
        {
            "name": "heads",
            "labels": {"findings": FINDINGS, "cancer_classes": ("normal", "tumour")},
            "data": {
                "hospitals": {"all": {"xray": {"folder": folder}}},
                "central": {"xray": {"folder": folder}},
                "cache": {"folder": Path(".cache/heads")},
            },
            "model": {"absent": "token", "weights": weights, "image_size": size},
            "training": {"threads": 1, **training},
        },
        strict=False,
    )


@dataclass(frozen=True)
class Deal:
    """Rows of the collection: central ``test`` and ``valid``, and by hospital ``train`` and ``held`` (validation)."""

    test: Rows
    valid: Rows
    train: tuple[Rows, ...]
    held: tuple[Rows, ...]


class Collection:
    """Features (N, D), labels (N, findings) and patients of all images, and the network whose heads are trained."""

    def __init__(self, experiment: Experiment) -> None:
        site = load_hospital(experiment, "all")
        parts = [site.splits[split].xray for split in SPLITS]
        self.renew(experiment)
        store = FeatureStore(self.network, experiment.data.cache.folder)
        self.features = np.concatenate([store.pooled("xray", part, keep=True) for part in parts])
        self.labels: Floats = np.concatenate([part.targets for part in parts])
        self.patients = np.concatenate([np.array(part.patients) for part in parts])

    def renew(self, experiment: Experiment) -> None:
        """A network of another loss; the features stay."""
        self.network = Network(experiment, ("xray",))
        self._backbone = self.network.layout.read(["xray.backbone"])

    def deal(self, seed: int) -> Deal:
        names = np.unique(self.patients)
        order = np.random.default_rng(derive_seed(seed, "deal")).permutation(names)
        test, valid = int(0.4 * len(order)), int(0.5 * len(order))

        def rows(chosen: Sequence[str]) -> Rows:
            return np.flatnonzero(np.isin(self.patients, chosen))

        hospitals = np.array_split(order[valid:], HOSPITALS)
        held = [len(part) // 10 for part in hospitals]
        return Deal(
            rows(order[:test]),
            rows(order[test:valid]),
            tuple(rows(part[count:]) for part, count in zip(hospitals, held, strict=True)),
            tuple(rows(part[:count]) for part, count in zip(hospitals, held, strict=True)),
        )

    def rounds(self, experiment: Experiment, deal: Deal, moments: Moments = "anew") -> Iterator[int]:
        """Train round by round, the common model in the network after each. Adam begins ``anew`` at every hospital in
        every round, as in the product, or goes on with the moments that its last round left ``at home``, or with those
        of all hospitals, ``averaged`` like their weights."""
        network, training = self.network, experiment.training
        network.experiment = experiment
        draw_weights(network.model, experiment.seed)
        network.layout.write(self._backbone)
        segments = network.trained_segments("heads")
        sizes = {name: network.layout.sizes[name] for name in segments}
        known: dict[int, list[Floats]] = {}  # moments, by hospital
        for number in range(1, training.num_rounds + 1):
            plan, before, average = plan_round(training, number), network.layout.read(segments), FederatedAverage(sizes)
            for hospital, rows in enumerate(deal.train):
                network.layout.write(before)
                seed = derive_seed(experiment.seed, "fit", hospital, number)
                network.start("heads", seed)
                network.know_labels(self.labels[rows], np.empty(0, np.int32))
                network.set_learning_rate("heads", plan.learning_rate)
                if hospital in known:
                    for variable, values in zip(_moments(network), known[hospital], strict=True):
                        variable.assign(tf.cast(values, variable.dtype))
                order = np.random.default_rng(seed).permutation(rows)
                for part in batches(len(order), training.batch_size):
                    network.step("heads")(*self._inputs(order[part]), self.labels[order[part]], _unknown(len(part)))
                if moments != "anew":
                    known[hospital] = [variable.numpy() for variable in _moments(network)]
                average.add(network.layout.read(segments), len(rows))
            if moments == "averaged":
                shares = np.array([len(rows) for rows in deal.train]) / sum(len(rows) for rows in deal.train)
                of_all = zip(*(known[hospital] for hospital in range(HOSPITALS)), strict=True)
                mean = [sum(share * each for share, each in zip(shares, values, strict=True)) for values in of_all]
                known = dict.fromkeys(range(HOSPITALS), mean)
            network.layout.write(average.result(before))
            yield number

    def logits(self, rows: Rows) -> Floats:
        found = [self.network.logits_of_pooled(*self._inputs(rows[part])) for part in batches(len(rows), 512)]
        return np.concatenate([each["disease"].numpy() for each in found])

    def _inputs(self, rows: Rows) -> list[Floats]:
        present = np.ones((len(rows), 1), np.float32)
        return [self.features[rows], present, np.zeros_like(present)]


def _unknown(count: int) -> NDArray[np.int32]:
    return np.full(count, -1, np.int32)


def _moments(network: Network) -> list[Any]:
    adam = network._optimizer("heads")
    return [adam._steps, *adam._means, *adam._squares]


def study(path: Path, settings: Mapping[str, Any], keys: Sequence[str], run: Callable[[str], Any]) -> dict[str, Any]:
    """The results of all ``keys``, by key; those that ``path`` holds of the same ``settings`` are not run again."""
    document: dict[str, Any] = {"settings": dict(settings), "runs": {}}
    if path.is_file():
        document = json.loads(path.read_text())
        if document["settings"] != json.loads(json.dumps(dict(settings))):
            raise SystemExit(
                f"{path} holds runs with other settings: {document['settings']}; remove it or name another"
            )
    left = [key for key in keys if key not in document["runs"]]
    began = time.monotonic()
    for number, key in enumerate(left):
        document["runs"][key] = run(key)
        write_text(path, json.dumps(document) + "\n")
        hours = (time.monotonic() - began) / (number + 1) * (len(left) - number - 1) / 3600
        print(f"{key}: done, {len(left) - number - 1} left, about {hours:.2f} h", flush=True)
    return {key: document["runs"][key] for key in keys}
