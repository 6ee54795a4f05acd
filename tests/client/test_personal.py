"""A hospital's own model: made from the finished one, kept at the hospital, and delivered to its own results."""

from pathlib import Path

import keras
import numpy as np
import pytest

from fedthorax.client.process import SiteProcess
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.kept_results import keep_results, kept_run
from fedthorax.client.site_store import SiteStore
from fedthorax.common.config import Experiment
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.messages.tasks import FinishTask, Outcome, PersonaliseTask
from fedthorax.common.model.segments import SegmentLayout, segment_sha256, weights_digest
from fedthorax.common.record.run import read_run
from fedthorax.common.release.saved_model import load_saved_model
from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.server.models import model_facts
from fedthorax.server.record import RunRecord


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    model = {"backbone": "MobileNetV3Small", "image_size": 32, "weights": "none", "batch_norm": "train"}
    widths = {"encoder_units": 8, "feature_units": 4, "fusion_units": [8], "dropout": 0.0}
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]},
            "data": {"hospitals": {"north": source}, "central": source},
            "model": model | widths,
            "training": {"phases": [{"rounds": 1, "trainable": "all"}], "batch_size": 8, "threads": 2},
            "personalisation": {"fine_tune": ["outputs"], "epochs": 3, "learning_rate": 0.05},
            "evaluation": {"batch_size": 8, "partners": 1, "bootstrap_samples": 50},
        }
    )


def images(*_: object) -> SiteImages:
    """Every image of a split is known to all: three of four show a mass, a bias that the output layers learn."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)

    def some(targets: np.ndarray, kind: str) -> ImageSet:
        names = tuple(f"{kind}-{row}" for row in range(len(targets)))
        return ImageSet(pixels, targets, tuple(map(Path, names)), names, names)

    findings = (np.arange(24) % 4 > 0)[:, None].astype(np.float32)
    train = SplitImages(some(findings, "xray"), some((np.arange(24) % 4 > 0).astype(np.int32), "ct"))
    test = SplitImages(some(findings, "test-xray"), some((np.arange(24) % 4 > 0).astype(np.int32), "test-ct"))
    return SiteImages("north", {"train": train, "valid": train, "test": test}, ())


@pytest.mark.ci
def test_the_own_model_is_scored_stays_and_is_found_among_the_hospitals_results(experiment, tmp_path, monkeypatch):
    network = Network(experiment)
    built = network, FeatureStore(network, None)
    measure_batch_norm(*built, images().splits["train"])  # else random features are near 0
    common = network.layout.read()
    process = SiteProcess(EventLog(None), own=SiteStore(tmp_path / "own"))
    process.worker._load_images = images
    process.worker._build_network = lambda of, modalities: built
    process._build = lambda of, modalities: built  # type: ignore[method-assign]

    record = RunRecord.begun(experiment, "consortium", ("north",), "r1", "0" * 64, {})
    facts = {
        "weights": common,
        "layout": network.layout.digest,
        "run": "r1",
        "model_sha256": weights_digest(common),
        "sha256": {name: segment_sha256(values) for name, values in common.items()},
    }
    text = experiment.model_dump_json()
    reply = process.worker.run(PersonaliseTask(site="north", round=1, experiment=text, **facts))
    assert reply.error is None
    assert reply.weights == {}
    told = reply.told.model_dump()
    assert told["kept"] == "outputs"
    assert told["valid_loss"]["outputs"] < told["valid_loss"]["common"]
    assert told["comparison"]["disease"]["rows"][0]["descriptive"]  # six without a mass
    own = {**common, **process.worker.own.model("r1", "north")}
    assert {name for name in common if not np.array_equal(own[name], common[name])} == {"disease", "cancer"}

    site = SiteFolder(tmp_path / "site")
    outcome = Outcome(models=("best", "last"), facts=model_facts(experiment), metrics=read_run(record.document))
    finish = FinishTask(site="north", round=1, experiment=text, **facts, outcome=outcome)
    with monkeypatch.context() as patch:  # a worker that is killed on the way, and asked again
        patch.setattr("fedthorax.client.site.kept_results.write_report", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keep_results(site, process, finish, experiment)
    with pytest.raises(FileNotFoundError, match="no finished run 'small'"):
        kept_run(site, "small")
    assert keep_results(site, process, finish, experiment).error is None
    assert kept_run(site, "small") == kept_run(site, "r1") == site.results / "small"
    assert len(list(site.results.iterdir())) == 1
    folder = site.results / "small" / "model"
    assert sorted(file.name for file in folder.glob("*.keras")) == ["best.keras", "last.keras", "personal.keras"]
    mine = load_saved_model(folder / "personal.keras")
    assert weights_digest(SegmentLayout(mine.model).read()) == weights_digest(own)
    best = keras.models.load_model(folder / "best.keras", compile=False)
    assert weights_digest(SegmentLayout(best).read()) == weights_digest(common)
