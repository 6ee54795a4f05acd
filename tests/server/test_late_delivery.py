"""Results for hospitals that were away at the end, over a channel and with a network that are a few numbers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.audit import AuditLog, verify
from fedthorax.common.model.segments import SEGMENTS, weights_digest
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server import late_delivery
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.consortium.runs import without_results
from fedthorax.server.late_delivery import deliver_late
from fedthorax.server.record import RunRecord
from fedthorax.server.selection import Selection

from .test_rounds import SITES, FakeChannel, FakeLayout, without

BEST, LAST = ({segment: np.full(2, value, np.float32) for segment in SEGMENTS} for value in (1, 2))


@pytest.fixture
def experiment(experiment_file, tmp_path):
    return load_experiment(
        experiment_file(), ["data.hospitals={north: null, south: null, east: null}", f"output.folder={tmp_path}"]
    )


@pytest.fixture
def folder(experiment, monkeypatch):
    """A run that finished after round 2, of which round 1 is the best; south was away, and east left between the two
    models."""
    monkeypatch.setattr(late_delivery, "write_report", lambda path: None)
    record = RunRecord.begun(experiment, "consortium", SITES, "run-1", "sha", {})
    for number in range(3):
        record.open_round(number, None)
    record.document["best_round"] = 1
    for site in ("south", "east"):
        record.failure(site, "finish", "not connected for 20 s")
    record.finish("finished", None, 60.0, 1000, 1000)
    with RunFolder.create(experiment.run_folder) as made:
        checkpoints = Checkpoints(made.checkpoints, 2)
        for number, weights in ((1, BEST), (2, LAST)):
            checkpoints.save(Checkpoint(number, weights, Selection("loss"), "run-1", record.document))
        models = {"best.keras": BEST, "last.keras": LAST}
        facts = {name: {"weights_sha256": weights_digest(weights)} for name, weights in models.items()}
        (made.model / "model.json").write_text(json.dumps({"models": facts}))
        audit = AuditLog(made.audit)
        for site, weights in (("north", BEST), ("east", BEST), ("north", LAST)):
            audit.append("models delivered", site=site, models=[], model_sha256=weights_digest(weights))
        made.write_metrics(record.document)
        yield made


def build(experiment):
    return SimpleNamespace(layout=FakeLayout()), None


def test_who_lacks_a_model_is_known_from_the_audit_log(folder):
    assert without_results(folder.path) == ["south", "east"]


def test_nobody_is_served_before_the_run_has_finished(folder):
    folder.write_metrics(folder.read_metrics() | {"status": "failed"})
    with pytest.raises(ValueError, match=r"has not finished .* go on with `fedthorax run --resume"):
        without_results(folder.path)


def test_those_who_were_away_get_both_models_and_the_record_says_so(folder, experiment):
    channel = FakeChannel()
    deliver_late(experiment, channel, folder, build)
    assert [(task.site, task.kind, task.round) for task in channel.tasks] == [
        (site, "finish", number) for number in (1, 2) for site in ("south", "east")
    ]
    assert list(channel.tasks[0].outcome.metrics.sites) == ["south"]
    assert without_results(folder.path) == []
    metrics = folder.read_metrics()
    assert metrics["status"] == "finished"
    reasons = [failure["reason"] for failure in metrics["rounds"][-1]["failures"]]
    assert reasons == ["not connected for 20 s; delivered later"] * 2
    verify(folder.audit)


def test_who_is_still_away_is_named_and_can_be_served_another_time(folder, experiment):
    away = FakeChannel(without(("finish", 1, "south"), ("finish", 2, "south")))
    with pytest.raises(RuntimeError, match="still without models and report: south; try again"):
        deliver_late(experiment, away, folder, build)
    assert without_results(folder.path) == ["south"]
    deliver_late(experiment, FakeChannel(), folder, build)
    assert without_results(folder.path) == []
