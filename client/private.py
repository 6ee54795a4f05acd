"""Private steps at a hospital: its secret, what it has spent, and the update that leaves when that is written down."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.client.site_store import SiteStore
from fedthorax.common.config import Experiment
from fedthorax.common.config.travelling import experiment_digest
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.messages.message import Segments
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.privacy.budget import Budget, Charge, Limit
from fedthorax.common.privacy.plan import plan_of
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import FitReport
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import PrivateSteps, moved_by, simulated, simulated_secret
from fedthorax.common.training.private_step import PrivateHeads

KEY, LOG = "privacy.key", "privacy.jsonl"


@dataclass(frozen=True)
class PrivateUpdate:
    """``moved`` is the step as whole numbers, which masks need; ``spent`` are the run's steps here so far."""

    fitted: FitReport
    update: Segments
    moved: Mapping[str, NDArray[np.int64]]
    spent: int


@dataclass
class Private:
    """``state`` is a hospital's own folder for its secret and its log; None is a simulation, whose noise comes from the
    seed and protects nobody."""

    own: SiteStore
    state: Path | None = None
    limit: Limit | None = None
    _heads: PrivateHeads | None = field(default=None, init=False)

    def train(
        self, task: TrainTask, experiment: Experiment, network: Network, store: FeatureStore, train: SplitImages
    ) -> PrivateUpdate:
        """The task's steps from the weights that the network holds. They are paid for when this returns; ValueError
        where the hospital's limit does not allow them. Nothing of the patients is in the report: not even a loss."""
        started, plan = time.monotonic(), plan_of(experiment)
        came = network.layout.read(network.trained_segments("heads"))
        if self._heads is None or self._heads.network is not network:
            self._heads = PrivateHeads(network, plan.privacy.clip)
        patients = self._heads.patients(store, train)
        if not patients.names:
            return PrivateUpdate(FitReport(None, None, None, 0, 0, 0, 0.0), {}, {}, 0)
        if self.state is None:
            secret, context = simulated_secret(experiment, task.site), simulated(task.site, task.round)
            log = self.own.privacy_file(task)
        else:
            secret, log = secret_of(self.state / KEY), self.state / LOG
            context = [task.run, task.site, task.round, experiment_digest(experiment)]
        steps = PrivateSteps(self._heads, plan, secret, context, task.learning_rate)
        moved = steps.take(came, patients)
        charge = Charge(
            run=task.run,
            round=task.round,
            rate=plan.privacy.sampling_rate,
            noise=plan.noise,
            steps=plan.steps,
            planned=plan.privacy.steps,
            mark=steps.mark,
        )
        spent = Budget(log, self.limit).spend(charge)
        # The time is told in whole seconds: how long a step takes depends a little on who is in it.
        fitted = FitReport(None, None, None, 1, plan.steps, 1, float(round(time.monotonic() - started)))
        return PrivateUpdate(fitted, moved_by(came, moved), moved, spent)


def secret_of(path: Path) -> bytes:
    """The hospital's secret, made when it is first needed. After it was lost no step can be repeated."""
    if not path.is_file():
        write_bytes(path, (secrets.token_bytes(32),), PRIVATE)
    return path.read_bytes()
