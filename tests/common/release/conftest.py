"""A model on disk."""

import shutil
from pathlib import Path

import pytest

from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.model.segments import weights_digest
from fedthorax.common.record.run import read_run
from fedthorax.common.release.model_facts import FORMAT, model_entry, write_model_facts

from ...runs import central_test, intervals, partial_run

LABEL = LabelOperation(threshold=0.3, method="youden", slope=2.0, positives=20, negatives=20, reasons=("A reason.",))


@pytest.fixture
def folder(tmp_path: Path, saved_folder: Path) -> Path:
    """A run's model folder: the selected model with operating points, and the last one without."""
    return Path(shutil.copytree(saved_folder, tmp_path / "model"))


@pytest.fixture(scope="package")
def saved_folder(tmp_path_factory: pytest.TempPathFactory, network) -> Path:
    network.layout.write(network.starting_weights)
    labels = network.experiment.labels
    points = OperatingPoints(
        site="central",
        split="valid",
        disease=dict.fromkeys(labels.findings, LABEL),
        cancer=dict.fromkeys(labels.cancer_classes, LABEL.model_copy(update={"slope": 1.0})),
        cancer_temperature=1.5,
    )
    facts = {
        "format": FORMAT,
        "name": "small",
        "findings": list(labels.findings),
        "cancer_classes": list(labels.cancer_classes),
        "image_size": network.experiment.model.image_size,
        "aspect": "squash",
        "threshold": 0.5,
        "ct_windows": [],
        "versions": {},
    }
    norths = LABEL.model_copy(update={"threshold": 0.1, "positives": None, "negatives": None})
    own = points.model_copy(
        update={"site": "north", "disease": dict.fromkeys(labels.findings, norths), "cancer_temperature": 3.0}
    ).model_dump(mode="json")
    of_north = {"per_finding": {"Mass": {"roc_auc": 0.9, "support": 11, "known": 30, "descriptive": False}}}
    document = partial_run(
        name="small",
        run="ab12",
        operating_points={"round": 2, **points.model_dump(mode="json")},
        test=central_test(
            patients={"xray": 9, "ct": 8},
            disease={"per_finding": {"Mass": {"roc_auc": 0.7, "support": 12, "known": 40, "descriptive": False}}},
            cancer={"accuracy": 0.8},
            intervals=intervals({"per_finding": {"Mass": {"roc_auc": [0.6, 0.8]}}}, {}),
        ),
        sites={
            "north": {"operating_points": own, "test_at_own_thresholds": {"disease": of_north, "cancer": {}}},
            "south": {"operating_points": None, "test_at_own_thresholds": None},
            "east": {"operating_points": {**own, "cancer": {}}, "test_at_own_thresholds": None},
        },
    )
    run = read_run(document)
    path = tmp_path_factory.mktemp("saved")
    entries = {}
    for name, round_number in (("last.keras", 3), ("best.keras", 2)):
        network.model.save(path / name)
        entries[name] = model_entry(facts, run, round_number, weights_digest(network.layout.read()))
    write_model_facts(path, facts, entries, run)
    return path
