"""TensorBoard and MLflow are told each figure once, stay on this machine, and never end a run."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.output import OutputConfig
from fedthorax.server.tracking import Tracking, require_trackers
from fedthorax.server.tracking import tracking as module
from fedthorax.server.tracking.tracking import figures


def document(rounds: int = 2, **changes: Any) -> dict[str, Any]:
    entries = [
        {
            "round": number,
            "central": {"loss": 1.0 - number / 8, "disease": {"macro": {"roc_auc": None}}},
            "sites": {"Süd & Co": {"train": {"loss": 2.0} if number else None, "valid": None}},
            "seconds": 3.0,
        }
        for number in range(rounds)
    ]
    return {"run": "0" * 32, "status": "running", "rounds": entries, "test": None, "resumed": [], **changes}


class Recorder:
    went_on = False

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, float]]] = []
        self.status = ""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.told.append((step, dict(values)))

    def close(self, status: str) -> None:
        self.status = status


def test_figures_have_a_round_a_name_and_a_value_and_the_undefined_none() -> None:
    test = {"round": 1, "disease": {"macro": {"roc_auc": 0.75}}, "cancer": {"accuracy": None}}
    assert list(figures(document(test=test))) == [
        (0, "central/valid/loss", 1.0),
        (0, "round/seconds", 3.0),
        (1, "central/valid/loss", 0.875),
        (1, "round/seconds", 3.0),
        (1, "sites/Süd & Co/train/loss", 2.0),
        (1, "central/test/disease_roc_auc", 0.75),
    ]


def test_each_figure_is_told_once_also_one_that_comes_a_round_later() -> None:
    recorder, now = Recorder(), document(1)
    tracking = Tracking(pytest.fail)
    tracking.add("a recorder", lambda: recorder, now)
    tracking.update(now)
    later = document(2)
    later["rounds"][0]["sites"]["Süd & Co"]["valid"] = {"loss": 0.5}
    tracking.update(later)
    tracking.close(later | {"status": "finished"})
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
    tracking.add("Full", Full, document(0))
    tracking.add("a recorder", lambda: recorder, document(0))
    tracking.update(document(1))
    tracking.close(document(2, status="failed"))
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
    tracking = Tracking.opened(experiment, tmp_path, document(0), pytest.fail)
    tracking.update(document(1))
    tracking.close(document(2, status="finished"))
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [event_pb2.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]
    points = {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in events
        for value in event.summary.value
    }
    assert points[1, "central/valid/loss"] == 0.875
    assert points == {(step, name): value for step, name, value in figures(document(2))}


def test_mlflow_keeps_one_run_over_a_stop_and_is_told_to_send_nothing(tmp_path: Path, experiment_file: Any) -> None:
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    experiment = load_experiment(experiment_file(), [f"output.mlflow={tmp_path}/ml runs"])
    first = Tracking.opened(experiment, tmp_path, document(0), pytest.fail)
    first.update(document(1))
    first.close(document(1, status="interrupted"))
    before = document(1, resumed=[{"after_round": 0}])
    again = Tracking.opened(experiment, tmp_path, before, pytest.fail)
    ended = copy.deepcopy(document(2, resumed=before["resumed"], status="finished"))
    again.close(ended)

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "ml runs").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("FedThorax").experiment_id])
    assert (run.info.run_name, run.info.status) == ("tiny", "FINISHED")
    assert run.data.params["seed"] == "0"
    history = client.get_metric_history(run.info.run_id, "central/valid/loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.875)]
    assert run.data.metrics["sites/Süd _26_ Co/train/loss"] == 2.0
    assert (os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["DO_NOT_TRACK"]) == ("true", "true")
