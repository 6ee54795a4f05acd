"""The rounds of a run: broadcast, check, average, score, select; the same for a consortium and a simulation."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.aggregation import LIMIT, all_below
from fedthorax.common.algorithms.algorithm import State
from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.ground.wording import number_of
from fedthorax.common.model.segments import Weights, segment_sha256, weights_digest
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import require_exact
from fedthorax.common.training.projection import set_projection
from fedthorax.common.training.schedule import RoundPlan, plan_round, scope_of, segments_of_part
from fedthorax.common.training.scoring import Predictions, Scores
from fedthorax.server.central import CentralData
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.closing import Closing
from fedthorax.server.delivery import deliver
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.masked_round import forget
from fedthorax.server.masks import StillMaskedError
from fedthorax.server.newcomers import Newcomers
from fedthorax.server.selection import Selection, selection_value, stopped_parts
from fedthorax.server.updates import Updates

MOST_LOST_ROUNDS = 3  # in a row whose model is not taken


@dataclass
class Rounds:
    """The server's side of one run; everything it measures goes into the hospitals' ``record``."""

    hospitals: Hospitals
    checkpoints: Checkpoints
    network: Network
    store: FeatureStore
    central: CentralData
    write_record: Callable[[], None]  # called after every round
    seconds: Callable[[], float]  # since the start of the run
    start: Checkpoint | None = None  # where a resumed run goes on
    leave_out: tuple[str, ...] = ()  # hospitals that the first round has no part for
    masking: Path = Path("masking")  # folder for what masked rounds must say again after a crash
    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        start, told = self.start, self.hospitals
        self.experiment, self.record, self.events, self.audit = told.experiment, told.record, told.events, told.audit
        self.selection = start.selection if start else Selection(self.experiment.evaluation.selection_metric)
        self._algorithm = algorithm_of(self.experiment.federation.strategy)
        self._strategy_state: State = start.strategy_state if start else {}
        self._newcomers = Newcomers(self.hospitals, self.central, dict(start.overlaps) if start else {})
        self._updates = Updates(self.hospitals, self.network, self._newcomers, self.masking)

    def run(self) -> Predictions:
        """All rounds that are left and the closing scores; returns the predictions on the central test split.

        Raises RuntimeError when fewer hospitals than ``federation.min_sites`` answer, naming the others' reasons, and
        TimeoutError when fewer are connected.
        """
        self.hospitals.left_out = self.leave_out  # a run goes on without them also where they cannot be reached
        if self.start is None:
            self.record.open_round(0, None)
            if self.experiment.privacy:
                require_exact(self.experiment, self.network)
            self._meet()
            if self.experiment.model.projection == "fixed":
                set_projection(self.network, self.store, self.central.valid)
            weights: Weights = self.network.layout.read()
            scores, started = self._validate(0, None), time.monotonic()
            if (problem := _unusable(weights, scores)) is not None:
                raise ValueError(f"the model that the run would begin with cannot be used: {problem}")
            self._close_round(0, weights, started, scores)
        else:
            weights = self.start.weights
            self.network.layout.write(weights)
            best = self._best_round()
            self._remember_best(weights if best == self.start.round else self.checkpoints.load(best).weights)
            self._meet()
        training, patience = self.experiment.training, self.experiment.federation.patience
        for number in range(self.record.newest_round + 1, training.num_rounds + 1):
            if patience and self.selection.rounds_since_best >= patience:
                self.record.document["stopped_early"] = True
                self.events.emit("note", text=f"stopped early: no better round for {number_of(patience, 'round')}")
                break
            plan = plan_round(training, number, self.selection.plateau_reductions)
            weights, plan = self._without_stopped(number, weights, plan)
            weights = self._train_round(number, weights, plan)
        best = self._best_round()
        selected = weights if best == self.record.newest_round else self.checkpoints.load(best).weights
        closing = Closing(self.hospitals, self.network, self.store, self.central)
        return closing.run(weights, best, selected, self._progress(best))

    def _meet(self) -> None:
        """Raises ValueError where nobody could train a phase that is left: nothing is worth its time before that."""
        self._newcomers.meet()
        training, number = self.experiment.training, self.record.newest_round + 1
        if number <= training.num_rounds:
            self._updates.require_work(training.phases[plan_round(training, number).phase_index :])

    def deliver(self) -> None:
        """Give every hospital the best and the last model and its results; who does not take them is a failure."""
        deliver(self.hospitals, self.checkpoints, self.hospitals.names)

    def _train_round(self, number: int, weights: Weights, plan: RoundPlan) -> Weights:
        started = time.monotonic()
        self.hospitals.left_out, self.leave_out = self.leave_out, ()
        self.hospitals.gather()
        self.record.open_round(number, plan)
        scope = scope_of(plan.phase, plan.stopped)
        segments = self.network.trained_segments(scope)
        state = self._strategy_state
        aggregate = self._algorithm.aggregate(
            self.experiment.federation.strategy_settings, self._updates.shape(segments, scope)
        )
        try:
            taken = self._updates.gather(number, weights, segments, plan, state, aggregate)
            self.events.emit("server", round=number, stage="aggregate")
            found, self._strategy_state = aggregate.result(weights, self._strategy_state)
        except StillMaskedError as error:
            self._not_taken(number, error.taken, str(error))
            return self._lost(number, weights, started, str(error), error.taken)
        finally:
            aggregate.close()
        before, broadcast = weights, self.hospitals.broadcast.copy()
        weights = {**weights, **found, **self._averaged(number, found, plan.averages)}
        if self._algorithm.measures_batch_norm:
            self.network.layout.write(weights)
            self.central.normalise(self.network, self.store, scope)
            weights = {**weights, **self.network.layout.read(segments)}
        weights = self.hospitals.broadcast.following(before, weights)
        self.network.layout.write(weights)
        scores = self._validate(number, plan)
        if (problem := _unusable(found, scores)) is not None:
            weights, self._strategy_state, self.hospitals.broadcast = before, state, broadcast
            self.network.layout.write(weights)
            self._not_taken(number, taken, problem)
            return self._lost(number, weights, started, problem, taken)
        self._close_round(number, weights, started, scores)
        return weights

    def _without_stopped(self, number: int, weights: Weights, plan: RoundPlan) -> tuple[Weights, RoundPlan]:
        """The model with the parts that have had enough as they were in their best round, from which they stay so."""
        first = number - plan.position - 1  # whose model the phase began with
        scores = [entry["central"] for entry in self.record.rounds[first:number]]
        stopped = stopped_parts(plan.phase, scores, self.experiment.evaluation.selection_weights)
        before = stopped_parts(plan.phase, scores[:-1], self.experiment.evaluation.selection_weights)
        for part in sorted(set(stopped) - set(before)):
            best = first + stopped[part]
            kept = self.checkpoints.load(best).weights
            back = {segment: kept[segment] for segment in segments_of_part(plan.phase, part)}
            weights = self.hospitals.broadcast.following(weights, {**weights, **back})
            self.events.emit(
                "note", text=f"{part} is trained no longer: no better round since round {best}, to which it returns"
            )
        return weights, replace(plan, stopped=tuple(sorted(stopped)))

    def _averaged(self, number: int, found: Weights, rounds: int) -> Weights:
        """Of what was trained the exact mean of this round and those before it, ``rounds`` in all; of one nothing."""
        if rounds == 1:
            return {}
        mean = FederatedAverage({segment: values.size for segment, values in found.items()})
        for back in range(rounds):
            mean.add(self.checkpoints.load(number - back).weights if back else found, 1)
        return mean.result(found)

    def _lost(self, number: int, weights: Weights, started: float, problem: str, taken: Iterable[str]) -> Weights:
        """Close a round whose model is not taken. RuntimeError where too many were lost in a row."""
        self._close_round(number, weights, started, None)
        lost = next(back for back, entry in enumerate(reversed(self.record.rounds)) if entry["central"] is not None)
        if lost % MOST_LOST_ROUNDS == 0:
            raise RuntimeError(
                f"{MOST_LOST_ROUNDS} rounds in a row gave a model that is not taken: {problem}; took part in the last: "
                f"{', '.join(sorted(taken))}. Lower training.learning_rate, or go on with --resume --leave-out HOSPITAL"
            )
        return weights

    def _not_taken(self, number: int, taken: Iterable[str], problem: str) -> None:
        """The round's model is not accepted: the run goes on from the one before."""
        for site in sorted(taken):
            # What it keeps goes on from before.
            self.record.rounds[number]["sites"][site] |= {"update_norm": None, "masked": False}
            self.hospitals.fail(site, "model", f"it took part in round {number}, whose model is not taken: {problem}")

    def _validate(self, number: int, plan: RoundPlan | None) -> Scores:
        """Scores of the present weights on the central validation split."""
        frozen = plan is None or not plan.phase.trains_backbones
        self.events.emit("server", round=number, stage="evaluate")
        return self.central.validate(self.network, self.store, frozen, self._progress(number))

    def _close_round(self, number: int, weights: Weights, started: float, scores: Scores | None) -> None:
        """Select, and write everything down. ``scores`` are None where the round's model was not taken."""
        channel, ledger = self.hospitals.channel, self.hospitals.ledger
        self.record.close_round(
            scores, time.monotonic() - started, self.seconds(), channel.bytes_sent, channel.bytes_received
        )
        weighed = self.experiment.evaluation.selection_weights
        value = None if scores is None else selection_value(scores, self.selection.metric, weighed)
        self.selection = self.selection.after(number, value, self.experiment.training.schedule.plateau_patience)
        self.record.select(self.selection)
        if self._best_round() == number:
            self._remember_best(weights)
        ledger.settle()
        checkpoint = Checkpoint(
            number,
            weights,
            self.selection,
            self.record.document["run"],
            self.record.document,
            ledger.acknowledged,
            ledger.egress_heads,
            self._newcomers.overlaps,
            self.hospitals.holdings.by_site,
            self._strategy_state,
            self.hospitals.broadcast.state,
        )
        self.checkpoints.save(checkpoint)
        forget(self.masking, number)
        self.audit.append("round closed", round=number, model_sha256=weights_digest(weights))
        self.write_record()
        entry = self.record.rounds[-1]
        self.events.emit(
            "round",
            round=number,
            rounds=self.experiment.training.num_rounds,
            central=scores,
            failures=entry["failures"],
            seconds=entry["seconds"],
        )

    def _remember_best(self, weights: Weights) -> None:
        """The hospitals go on holding the best model: the end of the run needs it."""
        self.hospitals.best = {segment: segment_sha256(values) for segment, values in weights.items()}

    def _best_round(self) -> int:
        return self.record.newest_round if self.selection.best_round is None else self.selection.best_round

    def _progress(self, number: int) -> Callable[[int, int], None]:
        return lambda done, total: self.events.emit("server", round=number, stage="evaluate", done=done, total=total)


def _unusable(weights: Weights, scores: Scores) -> str | None:
    """Why a model cannot be gone on with; None where it can."""
    wild = [segment for segment, values in weights.items() if not all_below(values, LIMIT)]
    if wild:
        return f"it holds values that are not finite, or too large, in {', '.join(wild)}"
    losses = {name: scores.get(name) for name in ("disease_loss", "cancer_loss", "loss")}
    bad = next((name for name, value in losses.items() if value is not None and not math.isfinite(value)), None)
    return bad and f"its {bad} on the central validation images is {losses[bad]}"
