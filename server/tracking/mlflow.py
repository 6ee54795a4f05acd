"""A run in MLflow's local file store: https://mlflow.org/docs/latest/ml/tracking/

MLflow sends usage events unless it is told not to before it is imported. Its file store is no longer developed, only
kept, and has to be asked for; its other stores need a database or a server.
"""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedthorax.common.config import Experiment
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
