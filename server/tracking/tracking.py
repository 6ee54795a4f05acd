"""Whoever watches a run besides the report: told each figure once, as soon as it is known.

MLflow (https://mlflow.org/docs/latest/ml/tracking/) sends usage events unless it is told not to before it is imported.
Its local file store is no longer developed, only kept, and has to be asked for; its other stores need a database or a
server.
"""

import importlib.util
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fedthorax.common.config import Experiment
from fedthorax.common.config.output import OutputConfig
from fedthorax.common.record.history import HEADLINE, history_rows
from fedthorax.common.record.run import Run
from fedthorax.common.record.run_folder import config_sha256

EXPERIMENT = "FedThorax"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_RUN = "fedthorax.run"
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}
_AT_ONCE = 1000  # metrics in one batch, MLflow's own limit


class MlflowTracker:
    """One MLflow run in the store at ``folder``; a run that goes on after a stop is the same one there too."""

    def __init__(self, folder: Path, experiment: Experiment, run: str) -> None:
        os.environ |= _ENVIRONMENT
        from mlflow.entities import Metric
        from mlflow.tracking import MlflowClient

        self._metric = Metric
        self._client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        found = self._client.get_experiment_by_name(EXPERIMENT)
        store = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        earlier = self._client.search_runs([store], f"tags.`{_RUN}` = '{run}'")
        self.went_on = bool(earlier)
        if earlier:
            self._id = earlier[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {_RUN: run, "fedthorax.run_folder": str(experiment.run_folder.absolute())}
        self._id = self._client.create_run(store, run_name=experiment.name, tags=tags).info.run_id
        for name, value in _parameters(experiment).items():
            self._client.log_param(self._id, name, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(_plain(name), value, now, step) for name, value in values.items()]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[start : start + _AT_ONCE])

    def close(self, status: str) -> None:
        self._client.set_terminated(self._id, _STATUS.get(status, "FAILED"))


def _parameters(experiment: Experiment) -> dict[str, Any]:
    """What one filters runs by; the whole experiment stands in the run folder's config.yaml."""
    model, training = experiment.model, experiment.training
    return {
        "seed": experiment.seed,
        "strategy": experiment.federation.strategy,
        "hospitals": len(experiment.data.hospitals),
        "backbone": model.backbone,
        "image_size": model.image_size,
        "batch_norm": model.batch_norm,
        "batch_size": training.batch_size,
        "rounds": training.num_rounds,
        "phases": " ".join(f"{phase.trainable}:{phase.rounds}" for phase in training.phases),
        "config_sha256": config_sha256(experiment),
    }


def _plain(name: str) -> str:
    """The name with whatever MLflow does not allow in one, as its number."""
    return re.sub(r"[^\w.\- :/]", lambda found: f"_{ord(found[0]):x}_", name)


_TRAIN = "train_"
_IDENTITY = frozenset({"round", "phase", "trainable", "scope", "site"})
_OF_THE_ROUND = frozenset({"round_seconds", "bytes_sent", "bytes_received"})


def figures(run: Run) -> Iterator[tuple[int, str, float]]:
    """Round, name and value of what history.csv holds, and of the test once it is there.

    ``central/valid/NAME``, ``round/NAME``, ``sites/SITE/valid/NAME``, ``sites/SITE/train/NAME``, and for the selected
    model, at its round, ``central/test/NAME``. What is undefined is left out: a curve has no point there.
    """
    for entry in run.rounds:
        for row in history_rows(entry):
            where = "central" if row["scope"] == "central" else f"sites/{row['site']}"
            for column, value in row.items():
                if column not in _IDENTITY and value is not None:
                    yield int(row["round"]), _name(where, column), float(value)
    if run.test:
        for name, of in HEADLINE.items():
            if (found := run.test.mean(*of)) is not None:
                yield run.test.round, f"central/test/{name}", found


def _name(where: str, column: str) -> str:
    if column in _OF_THE_ROUND:
        return f"round/{column.removeprefix('round_')}"
    if column.startswith(_TRAIN):
        return f"{where}/train/{column.removeprefix(_TRAIN)}"
    return f"{where}/valid/{column}"


class Tracker(Protocol):
    """``went_on``: it holds the rounds of this run that were done before a stop."""

    went_on: bool

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of one round, by name."""

    def close(self, status: str) -> None:
        """``status`` is finished, interrupted or failed."""


def require_trackers(output: OutputConfig) -> None:
    """Raise ValueError where a package is missing that ``output`` needs, or where MLflow's store is no folder."""
    for key, wanted in (("tensorboard", output.tensorboard), ("mlflow", output.mlflow is not None)):
        if wanted and importlib.util.find_spec(key) is None:
            raise ValueError(
                f"output.{key} needs the package {key}, which is not installed here: "
                f"pip install 'fed-thorax[{key}]', or leave the key out"
            )
    if output.mlflow is not None and output.mlflow.exists() and not output.mlflow.is_dir():
        raise ValueError(f"output.mlflow is {output.mlflow}, which is a file; expected a folder, or nothing there yet")


class Tracking:
    """Tells every tracker what is new in the record. A run does not depend on who watches it: a tracker that fails is
    named in a note and told nothing more."""

    def __init__(self, note: Callable[[str], Any]) -> None:
        self._note = note
        self._trackers: dict[str, Tracker] = {}
        self._told: dict[str, set[tuple[int, str]]] = {}

    @classmethod
    def opened(cls, experiment: Experiment, folder: Path, run: Run, note: Callable[[str], Any]) -> "Tracking":
        """What ``experiment.output`` asks for, for a ``run`` that begins, or that goes on."""
        self = cls(note)
        if experiment.output.tensorboard:
            self.add("TensorBoard", lambda: _TensorBoard(folder / "tensorboard"), run)
        if (store := experiment.output.mlflow) is not None:
            self.add("MLflow", lambda: MlflowTracker(store, experiment, run.run), run)
        return self

    def add(self, name: str, opener: Callable[[], Tracker], run: Run) -> None:
        """One more; it is told what stands in ``run`` with the next update, unless it was told before a stop."""
        try:
            tracker = self._trackers[name] = opener()
        except Exception as error:  # whatever it is, the run is worth more
            self._stopped(name, error)
            return
        self._told[name] = {(step, figure) for step, figure, _ in figures(run)} if tracker.went_on else set()

    def update(self, run: Run) -> None:
        """Tell what is known by now and was not told yet."""
        for name, tracker in list(self._trackers.items()):
            told, new = self._told[name], dict[int, dict[str, float]]()
            for step, figure, value in figures(run):
                if (step, figure) not in told:
                    new.setdefault(step, {})[figure] = value
            try:
                for step, values in sorted(new.items()):
                    tracker.log(step, values)
                    told.update((step, figure) for figure in values)
            except Exception as error:  # as above
                self._stopped(name, error)

    def close(self, run: Run) -> None:
        """Tell the rest, and how the run ended."""
        self.update(run)
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.close(run.status)
            except Exception as error:  # as above
                self._stopped(name, error)
        self._trackers.clear()

    def _stopped(self, name: str, error: Exception) -> None:
        self._trackers.pop(name, None)
        self._note(f"{name} is told nothing more: {' '.join(str(error).split()) or type(error).__name__}")


class _TensorBoard:
    """Writes event files into ``folder``; each run, and each time it goes on, has a file of its own."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.went_on = folder.is_dir()
        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.close()
