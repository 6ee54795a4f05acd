"""The server's own images: a validation split that selects, and a test split that is scored once."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.disclosure.passport import passport
from fedthorax.common.ground.cells import plain_cells
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.hospital.overlap import shared_images, without
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.metrics.operating import OperatingPoints, Told, choose_operating_points
from fedthorax.common.records.records import SPLITS, Split
from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.final_scores import calibrated, final_scores, scores_by_given, with_duplicates
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import Trainable
from fedthorax.common.training.scoring import Predictions, Scores, in_use, predict, score


class CentralData:
    """The central splits, less the test images that are trained on or select the model."""

    def __init__(self, experiment: Experiment, progress: Progress | None = None) -> None:
        self._experiment = experiment
        self._sources = experiment.data.central_sources()
        self.images: SiteImages = load_hospital(experiment, CENTRAL, progress)
        self.valid, self.test = self.images.splits["valid"], self.images.splits["test"]
        self.left_out: list[dict[str, str]] = []
        # Digests of the test X-rays, then of the test CT slices, before any is left out.
        self.all_digests: tuple[str, ...] = (*self.test.xray.digests, *self.test.ct.digests)

    def leave_out(self, overlaps: Mapping[str, Iterable[int]]) -> None:
        """Take out of the test split what hospitals hold too: positions in ``all_digests``, by hospital.

        Called again, with all that is known by then, it begins anew from the whole split.
        """
        self.test, self.left_out = self.images.splits["test"], []
        seen = {CENTRAL: self._seen_here()}  # the server's own validation images select the model
        holder: dict[int, str] = {}
        for site, positions in [*sorted(overlaps.items()), *seen.items()]:
            for position in positions:
                holder.setdefault(int(position), site)
        num_xray = len(self.test.xray)
        parts = {"xray": self.test.xray, "ct": self.test.ct}
        for modality, images in parts.items():
            offset = 0 if modality == "xray" else num_xray
            rows = [position - offset for position in holder if 0 <= position - offset < len(images)]
            self.left_out += [
                {
                    "file": self._relative(images, row),
                    "split": "test",
                    "modality": modality,
                    "same_as_site": holder[row + offset],
                }
                for row in sorted(rows)
            ]
            parts[modality] = without(images, tuple(rows))
        self.test = SplitImages(**parts)

    def validate(self, network: Network, store: FeatureStore, keep: bool, progress: Progress | None = None) -> Scores:
        """Scores of the present weights on the validation split."""
        return score(network, store, self.valid, self._seed("valid"), keep, progress)

    def normalise(self, network: Network, store: FeatureStore, trainable: Trainable = "all") -> None:
        """Give what is trained statistics of batch normalisation of its own: those of the validation images."""
        measure_batch_norm(network, store, self.valid, trainable)

    def valid_in_use(self, network: Network, store: FeatureStore, progress: Progress | None = None) -> Predictions:
        """What the present weights say of the validation split, as who uses the model sees it."""
        used = in_use(self._experiment)
        return predict(network, store, self.valid, self._seed("valid"), progress=progress, repeats=used)[0]

    def operating_points(self, predictions: Predictions, told: Told | None = None) -> OperatingPoints:
        """Calibration and thresholds, chosen on the validation split and what hospitals have ``told`` of theirs."""
        labels = self._experiment.labels
        return choose_operating_points(
            (self.valid.xray.targets, predictions.disease),
            (self.valid.ct.targets, predictions.cancer),
            labels.findings,
            labels.cancer_classes,
            self._experiment.evaluation,
            CENTRAL,
            "valid",
            told,
            people=(self.valid.ct.patients, self.valid.ct.named),
        )

    def final_test(
        self, network: Network, store: FeatureStore, points: OperatingPoints, progress: Progress | None = None
    ) -> tuple[Scores, Predictions]:
        """Scores of the present weights on the test split, and the calibrated predictions that they are of."""
        raw, losses = predict(
            network, store, self.test, self._seed("test"), progress=progress, repeats=in_use(self._experiment)
        )
        scores = final_scores(network, self.test, raw, losses, points)
        given = scores_by_given(network, store, self.test, self._seed("test"), points)
        if given is not None:
            scores["by_given"] = given
        return scores, calibrated(raw, points)

    def test_with_duplicates(
        self,
        clean: Scores,
        network: Network,
        store: FeatureStore,
        points: OperatingPoints,
        progress: Progress | None = None,
    ) -> Scores | None:
        whole = self.images.splits["test"]
        return with_duplicates(network, store, self._seed("test"), points, clean, self.test, whole, progress)

    def predictions_csv(self, predictions: Predictions) -> str:
        """One row an image of the test split: file, patient, modality, then truth and probability of each label."""
        labels = self._experiment.labels
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        names = (*labels.findings, *labels.cancer_classes)
        header = [f"{kind}:{name}" for name in names for kind in ("truth", "probability")]
        writer.writerow(["modality", "file", "patient_id", *header])
        num_findings, num_classes = len(labels.findings), len(labels.cancer_classes)
        for row in range(len(self.test.xray)):
            truth = ["" if np.isnan(value) else int(value) for value in self.test.xray.targets[row]]
            cells = _interleave(truth, predictions.disease[row])
            writer.writerow([*self._identity("xray", self.test.xray, row), *cells, *[""] * (2 * num_classes)])
        for row in range(len(self.test.ct)):
            known = int(self.test.ct.targets[row])
            truth = ["" if known < 0 else int(known == index) for index in range(num_classes)]
            cells = _interleave(truth, predictions.cancer[row])
            writer.writerow([*self._identity("ct", self.test.ct, row), *[""] * (2 * num_findings), *cells])
        return stream.getvalue()

    def name_of(self, modality: str, row: int) -> str:
        """The file of a row of the test split, below its source folder."""
        return self._relative(getattr(self.test, modality), row)

    def describe(self) -> dict[str, Any]:
        """Data passport of the server's folders, after the images left out."""
        splits: dict[Split, SplitImages] = {
            "train": self.images.splits["train"],
            "valid": self.valid,
            "test": self.test,
        }
        return passport(replace(self.images, splits=splits)).model_dump(mode="json")

    def _seen_here(self) -> tuple[int, ...]:
        """Positions of test images that also stand in the server's own training or validation split."""
        train, valid, test = (self.images.splits[split] for split in SPLITS)
        xray = shared_images(test.xray, (*train.xray.digests, *valid.xray.digests))
        ct = shared_images(test.ct, (*train.ct.digests, *valid.ct.digests))
        return (*xray, *(len(test.xray) + row for row in ct))

    def _identity(self, modality: str, images: ImageSet, row: int) -> list[str]:
        return plain_cells([modality, self._relative(images, row), images.patients[row]])

    def _relative(self, images: ImageSet, row: int) -> str:
        return images.ref(row).below(self._sources.by_modality.values())

    def _seed(self, split: str) -> int:
        return derive_seed(self._experiment.seed, "evaluation pairs", CENTRAL, split)


def _interleave(truth: list[Any], probability: Any) -> list[str]:
    return [cell for pair in zip(truth, (f"{p:.6f}" for p in probability), strict=True) for cell in map(str, pair)]
