"""The selected model on all hospitals' own images together, from histograms of their scores."""

from collections.abc import Sequence
from typing import Any

from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.metrics.hospital_gap import hospital_gaps
from fedthorax.common.metrics.operating import Told
from fedthorax.common.metrics.score_histogram import ScoreHistogram, pooled, pooled_figures
from fedthorax.common.metrics.scores import Histograms

_NO_HOSPITAL = "no hospital tells how its images are scored"


class Pooling:
    """Of every finding and class the hospitals' histograms; one that is heard twice counts once, with the last."""

    def __init__(self, labels: LabelsConfig, bins: int) -> None:
        self._names = {"disease": labels.findings, "cancer": labels.cancer_classes}
        self._bins = bins
        self._heard: dict[str, dict[tuple[str, str], ScoreHistogram]] = {}

    def add(self, site: str, told: Histograms) -> None:
        """Take what a hospital's ``histograms`` say; what it keeps is null."""
        self._heard[site] = {
            (task, name): value
            for task in (*self._names, "examination")
            for name, value in getattr(told, task).items()
            if value is not None
        }

    def told(self) -> Told:
        """By task and label, by hospital."""
        labels = {label for heard in self._heard.values() for label in heard}
        return {
            label: {site: heard[label] for site, heard in sorted(self._heard.items()) if label in heard}
            for label in labels
        }

    def document(self) -> dict[str, Any]:
        """``pooled`` of metrics.json: for each label its figures and the ``hospitals`` whose images are in them;
        ``by_site`` compares each hospital with the others."""

        def of(task: str, name: str) -> dict[str, Any]:
            sites = sorted(site for site, heard in self._heard.items() if (task, name) in heard)
            if not sites:
                figures = dict.fromkeys(("present", "absent", "roc_auc", "pr_auc", "calibration_error"))
                return {**figures, "reason": _NO_HOSPITAL, "hospitals": []}
            return pooled_figures(pooled([self._heard[site][task, name] for site in sites])) | {"hospitals": sites}

        def by_site(task: str, names: Sequence[str]) -> dict[str, Any]:
            told = {
                name: {site: heard[task, name] for site, heard in self._heard.items() if (task, name) in heard}
                for name in names
            }
            return hospital_gaps(told, names)

        return {
            "bins": self._bins,
            **{task: {name: of(task, name) for name in names} for task, names in self._names.items()},
            "by_site": {task: by_site(task, names) for task, names in self._names.items()},
        }
