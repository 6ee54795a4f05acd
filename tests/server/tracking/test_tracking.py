"""TensorBoard and MLflow are told each figure once, stay on this machine, and never end a run."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.output import OutputConfig
from fedthorax.common.record.run import Run, read_run
from fedthorax.server.tracking import Tracking, require_trackers
from fedthorax.server.tracking import tracking as module
from fedthorax.server.tracking.tracking import figures

from ...runs import central_test, partial_round, partial_run

FIT = {"disease_loss": None, "cancer_loss": None, "pairs": 1, "steps": 1, "epochs": 1, "seconds": 1.0}


def scores(loss: float) -> dict[str, Any]:
    return {"loss": loss, "disease": {}, "cancer": {}}


def run_of(rounds: int = 2, valid: float | None = None, **changes: Any) -> Run:
    entries = [
        partial_round(
            number,
            central=scores(1.0 - number / 8),
            sites={
                "Süd & Co": {
                    "train": {"loss": 2.0, **FIT} if number else None,
                    "valid": scores(valid) if valid and not number else None,
                }
            },
            seconds=3.0,
        )
        for number in range(rounds)
    ]
    return read_run(partial_run(rounds=entries, **changes))


def of_interest(told: Mapping[str, float]) -> dict[str, float]:
    """Without what is the same in every round."""
    always = ("bytes_sent", "bytes_received", *(f"train/{name}" for name in FIT))
    return {name: value for name, value in told.items() if not name.endswith(always)}


class Recorder:
    went_on = False

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.status = ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.told.append((step, of_interest(values)))

    def close(self, status: str) -> None:
        self.status = status


def test_figures_have_a_round_a_name_and_a_value_and_the_undefined_none() -> None:
    run = run_of(test=central_test(disease={"macro": {"roc_auc": 0.75}}))
    told = [one for one in figures(run) if of_interest({one[1]: one[2]})]
    assert told == [
        (0, "central/valid/loss", 1.0),
        (0, "round/seconds", 3.0),
        (1, "central/valid/loss", 0.875),
        (1, "round/seconds", 3.0),
        (1, "sites/Süd & Co/train/loss", 2.0),
        (1, "central/test/disease_roc_auc", 0.75),
    ]


def test_each_figure_is_told_once_also_one_that_comes_a_round_later() -> None:
    recorder, now = Recorder(), run_of(1)
    tracking = Tracking(pytest.fail)
    tracking.add("a recorder", lambda: recorder, now)
    tracking.update(now)
    later = run_of(2, valid=0.5)
    tracking.update(later)
    tracking.close(later.model_copy(update={"status": "finished"}))
    assert recorder.told == [
        (0, {"central/valid/loss": 1.0, "round/seconds": 3.0}),
        (0, {"sites/Süd & Co/valid/loss": 0.5}),
        (1, {"central/valid/loss": 0.875, "round/seconds": 3.0, "sites/Süd & Co/train/loss": 2.0}),
    ]
    assert recorder.status == "finished"


def test_a_tracker_that_fails_is_named_and_the_others_go_on() -> None:
    class Full(Recorder):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            raise OSError("No space left on device")

    notes: list[str] = []
    recorder = Recorder()
    tracking = Tracking(notes.append)
    tracking.add("Full", Full, run_of(0))
    tracking.add("a recorder", lambda: recorder, run_of(0))
    tracking.update(run_of(1))
    tracking.close(run_of(2, status="failed"))
    assert notes == ["Full is told nothing more: No space left on device"]
    assert [step for step, _ in recorder.told] == [0, 1]
    assert recorder.status == "failed"


@pytest.mark.parametrize("key", ["tensorboard", "mlflow"])
def test_a_package_that_is_missing_is_named_before_a_run_begins(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    require_trackers(OutputConfig())
    wanted = OutputConfig(tensorboard=True) if key == "tensorboard" else OutputConfig(mlflow=Path("mlruns"))
    with pytest.raises(ValueError, match=rf"output.{key} needs the package {key}.*pip install 'fed-thorax\[{key}\]'"):
        require_trackers(wanted)


def test_tensorboards_files_hold_the_curves(tmp_path: Path, experiment_file: Any) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    import tensorflow as tf
    from tensorflow.core.util import event_pb2

    experiment = load_experiment(experiment_file(), ["output.tensorboard=true"])
    tracking = Tracking.opened(experiment, tmp_path, run_of(0), pytest.fail)
    tracking.update(run_of(1))
    tracking.close(run_of(2, status="finished"))
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    points = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    assert points[1, "central/valid/loss"] == 0.875
    assert points == {(step, name): value for step, name, value in figures(run_of(2))}


def test_mlflow_keeps_one_run_over_a_stop_and_is_told_to_send_nothing(tmp_path: Path, experiment_file: Any) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    experiment = load_experiment(experiment_file(), [f"output.mlflow={tmp_path}/ml runs"])
    first = Tracking.opened(experiment, tmp_path, run_of(0), pytest.fail)
    first.update(run_of(1))
    first.close(run_of(1, status="interrupted"))
    resumed = [{"after_round": 0, "time": "2026-11-28T13:00:00+00:00"}]
    before = run_of(1, resumed=resumed)
    again = Tracking.opened(experiment, tmp_path, before, pytest.fail)
    again.close(run_of(2, resumed=resumed, status="finished"))

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "ml runs").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("FedThorax").experiment_id])
    assert (run.info.run_name, run.info.status) == ("tiny", "FINISHED")
    assert run.data.params["seed"] == "0"
    history = client.get_metric_history(run.info.run_id, "central/valid/loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.875)]
    assert run.data.metrics["sites/Süd _26_ Co/train/loss"] == 2.0
    assert (os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["DO_NOT_TRACK"]) == ("true", "true")
