"""The rounds of a run: broadcast, check, average, score, select; the same for a consortium and a simulation."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.aggregation import LIMIT, all_below
from fedthorax.common.algorithms.algorithm import Aggregate, RoundShape, State, TakesSums, Update
from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.algorithms.spool import KeptUpdates
from fedthorax.common.config import Experiment
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.events import EventLog
from fedthorax.common.messages.replies import DescribeReply, EvaluateReply, TrainReply
from fedthorax.common.messages.tasks import EvaluateTask, PersonaliseTask, TrainTask
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.scores import Histograms
from fedthorax.common.model.segments import MODALITIES, Weights, segment_sha256, segments_of, weights_digest
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.features import FeatureStore, Progress
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import require_exact
from fedthorax.common.training.projection import set_projection
from fedthorax.common.training.schedule import RoundPlan, Trainable, plan_round, scope_of, segments_of_part
from fedthorax.common.training.scoring import Predictions, Scores
from fedthorax.server.central import CentralData
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.claims import (
    check_beside,
    check_branch_counts,
    check_counts,
    check_histograms,
    check_step,
    check_update,
    unpacked,
)
from fedthorax.server.delivery import deliver
from fedthorax.server.held_segments import named_model
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.masked_round import MaskedRound, forget
from fedthorax.server.masks import Masks, StillMaskedError
from fedthorax.server.newcomers import Newcomers
from fedthorax.server.pooling import Pooling
from fedthorax.server.record import RunRecord
from fedthorax.server.selection import Selection, selection_value, stopped_parts
from fedthorax.server.steps import FEWEST, far_from_others, measured

MOST_LOST_ROUNDS = 3  # in a row whose model is not taken


@dataclass
class Rounds:
    """The server's side of one run; everything it measures goes into ``record``."""

    experiment: Experiment
    hospitals: Hospitals
    record: RunRecord
    events: EventLog
    audit: AuditLog
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
        start = self.start
        self.selection = start.selection if start else Selection(self.experiment.evaluation.selection_metric)
        self._pooling = Pooling(self.experiment.labels, self.experiment.evaluation.histogram_bins)
        self._algorithm = algorithm_of(self.experiment.federation.strategy)
        self._strategy_state: State = start.strategy_state if start else {}
        self._paces: dict[str, dict[str, float]] = {}  # of the updates of this round, by part of the model
        self._newcomers = Newcomers(self.hospitals, self.central, dict(start.overlaps) if start else {})

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
            self._newcomers.meet()
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
            self._newcomers.meet()
        training, patience = self.experiment.training, self.experiment.federation.patience
        for number in range(self.record.newest_round + 1, training.num_rounds + 1):
            if patience and self.selection.rounds_since_best >= patience:
                self.record.document["stopped_early"] = True
                self.events.emit("note", text=f"stopped early: no better round for {patience} rounds")
                break
            plan = plan_round(training, number, self.selection.plateau_reductions)
            weights, plan = self._without_stopped(number, weights, plan)
            weights = self._train_round(number, weights, plan)
        return self._close_run(weights)

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
            self.experiment.federation.strategy_settings, self._shape(segments, scope)
        )
        try:
            taken = self._gather_updates(number, weights, segments, plan, aggregate)
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

    def _gather_updates(
        self, number: int, weights: Weights, segments: tuple[str, ...], plan: RoundPlan, aggregate: Aggregate
    ) -> set[str]:
        """The hospitals whose updates are in ``aggregate`` in the end."""
        work = {"phase": plan.phase_index, "learning_rate": plan.learning_rate, "stopped": plan.stopped}
        ask = self.hospitals
        for site in ask.left_out:
            ask.fail(site, "train", "left out of this round by the lead (--leave-out)")
        model = named_model(weights)
        self._newcomers.forget_lost_keys()
        masks = Masks(ask, self.network.layout, self.masking, self._newcomers.run_keys)
        masked = None
        if self.experiment.federation.secure_aggregation:
            masked = masks.open(number, plan, segments, model["sha256"])
        required = masked.fewest if masked else ask.required
        models = self._models(model)
        told = self._algorithm.tell(self._strategy_state)
        self._paces = {}
        training = []
        for site in (name for name in ask.joined() if name not in ask.left_out):
            if masked and not masks.asks(masked, site):
                continue
            own = models(site)
            beside = {name: values for name, values in told.items() if name in own["weights"]}
            opening = masked.opening if masked and site in masked.opening.keys else None
            training.append(ask.task(TrainTask, site, number, **own, beside=beside, masking=opening, **work))
        asked = {task.site for task in training}
        tasks = [*training, *self._newcomers.newcomers(asked)]  # who joins now trains from the next round on
        accepted = set(masked.taken) if masked else set[str]()  # whose words an earlier try of the round has summed
        with contextlib.closing(KeptUpdates()) as kept:
            compared = self.experiment.federation.unusual_updates != "off" and len(training) >= FEWEST
            for reply in ask.replies(
                tasks, lambda: len(accepted) >= required, lambda left: len(accepted) + left >= required
            ):
                if isinstance(reply, DescribeReply):
                    if self._newcomers.accept(reply):
                        self._newcomers.leave_out()
                        ask.fail(reply.site, "train", f"joined in round {number}; trains from the next round on")
                elif self._take_update(
                    reply, number, model, segments, plan, masked or aggregate, kept if compared else None
                ):
                    accepted.add(reply.site)
            accepted -= self._put_aside(number, aggregate, kept)
        for site in masked.taken if masked else ():
            self.record.rounds[number]["sites"][site]["masked"] = True
        if masked and masked.again and len(possible := asked | accepted) < required:
            missing = ", ".join(sorted({*masked.opening.keys} - possible))
            raise StillMaskedError(f"it was opened before, and cannot be ended without {missing}", sorted(accepted))
        ask.require(len(accepted), required)
        ask.tell_absent(accepted)
        if masked and isinstance(aggregate, TakesSums):  # the configuration refuses the others
            masks.unmask(masked, weights, aggregate)
        if not aggregate.num_examples:
            raise RuntimeError("no hospital has anything to train on in this phase, so there is nothing to average")
        if not masked:
            self._tell_shares(number)
        return accepted

    def _put_aside(self, number: int, aggregate: Aggregate, kept: KeptUpdates) -> set[str]:
        """Take out again the updates that lie far from the others. Only now: the order of arrival decides nothing."""
        federation, entries = self.experiment.federation, self.record.rounds[number]["sites"]
        far = far_from_others({site: self._paces[site] for site in kept.sites}, federation.unusual_factor)
        for site, reason in sorted(far.items()):
            if federation.unusual_updates == "warn":
                self.hospitals.warn(site, reason)
            else:
                aggregate.remove(kept.again(site))
                entries[site]["update_norm"] = None
                self.hospitals.fail(site, "update", f"refused: {reason}")
        return set(far) if federation.unusual_updates == "refuse" else set()

    def _tell_shares(self, number: int) -> None:
        """A hospital that has much of the weight is named once, however often the run is gone on with."""
        told = {site for before in range(1, number) for site in self._notable(before)}
        for site, words in self._notable(number).items():
            if site not in told:
                self.hospitals.warn(site, f"it has {words}")

    def _notable(self, number: int) -> dict[str, str]:
        """What a hospital has much of: pairs, or of what a branch is weighed by."""
        entries = self.record.rounds[number]["sites"]
        pairs = {
            site: entry["train"]["pairs"] for site, entry in entries.items() if entry.get("update_norm") is not None
        }
        found: dict[str, str] = {}
        for words, modality in (
            ("pairs", ""),
            *([("X-rays", "xray"), ("CT slices", "ct")] if self.experiment.weighs_branches else ()),
        ):
            behind = {site: self._images(site, modality, own) for site, own in pairs.items()}
            behind = {site: own for site, own in behind.items() if own}
            total = sum(behind.values())
            found |= {
                site: f"{own / total:.0%} of the round's weight: {own} of {total} {words}"
                for site, own in behind.items()
                if len(behind) > 2 and own > self.experiment.federation.notable_share * total and site not in found
            }
        return found

    def _images(self, site: str, modality: str, pairs: int) -> int:
        """Training images that a hospital described; its pairs where it keeps that back, or where no modality is."""
        train = self.record.passport(site).splits.get("train")
        told: int | None = getattr(train, modality, None)
        return pairs if told is None else told

    def _shape(self, segments: tuple[str, ...], scope: Trainable) -> RoundShape:
        layout, findings = self.network.layout, len(self.experiment.labels.findings)
        # Also where pairs weigh all, masked sums are of parts: too few hospitals may stand behind some.
        by_parts = self.experiment.weighs_branches or self.experiment.federation.secure_aggregation
        parts = parts_of(layout, segments, findings) if by_parts else None
        statistics = {segment: layout.statistics(segment) for segment in segments}
        batch_norm = {segment: layout.batch_norm(segment) for segment in segments}
        pairs = sum(self.record.passport(site).pairs for site in self.hospitals.joined())
        return RoundShape(
            {segment: layout.sizes[segment] for segment in segments},
            parts,
            statistics,
            batch_norm,
            pairs,
            self.network.frozen(scope),
        )

    def _models(self, whole: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
        """By hospital what a task says about a named model: only the segments that its own network has."""
        layout, known = self.network.layout, dict[tuple[str, ...], dict[str, Any]]()

        def model(site: str) -> dict[str, Any]:
            modalities = self.hospitals.modalities(site)
            if modalities == MODALITIES:
                return whole
            if modalities not in known:
                names = segments_of(modalities)
                parts = {key: {name: whole[key][name] for name in names} for key in ("weights", "sha256")}
                known[modalities] = {**whole, **parts, "layout": layout.digest_of(names)}
            return known[modalities]

        return model

    def _take_update(
        self,
        reply: TrainReply,
        number: int,
        model: dict[str, Any],
        segments: tuple[str, ...],
        plan: RoundPlan,
        aggregate: Aggregate | MaskedRound,
        kept: KeptUpdates | None,
    ) -> bool:
        """Unpack an update, check it, add it; False where it is refused. ``model`` is the named one it started from."""
        site, norm, weights = reply.site, None, model["weights"]
        federation = self.experiment.federation
        try:
            if isinstance(aggregate, MaskedRound):
                return self._take_masked(reply, number, aggregate)
            reply = unpacked(reply, federation.codec, weights, model["sha256"])
            check_counts(reply, self.record.passport(site))
            if reply.num_pairs:
                check_update(reply, self.network.layout, segments_of(self.hospitals.modalities(site), segments))
                if self.experiment.weighs_branches:
                    check_branch_counts(reply, self.record.passport(site), self.experiment)
                check_beside(reply, self.network.layout, self._algorithm.hospital.sends)
                step = measured(reply.weights, weights, self.network.layout)
                if federation.unusual_updates != "off":
                    check_step(step, reply, self.experiment, plan)
                norm, self._paces[site] = step.norm, step.paces(reply.told.train.steps if reply.told.train else 1)
                values, beside = dict(reply.weights), dict(reply.beside)
                if not self.experiment.weighs_branches:
                    # Weighed by pairs alone, a hospital without an encoder votes for the one that there is.
                    values = {segment: values.get(segment, weights[segment]) for segment in segments}
                    if beside:
                        beside = {name: beside.get(name, np.zeros_like(value)) for name, value in values.items()}
                loss = reply.told.valid.loss
                counts = reply.told.counts.model_dump() if reply.told.counts else {}
                update = Update(site, values, reply.num_pairs, counts, loss, beside)
                aggregate.add(update)
                if kept is not None:
                    kept.add(update)
        except ValueError as error:
            self.hospitals.fail(site, "update", f"refused: {error}")
            return False
        self._note_update(reply, number)
        self.record.rounds[number]["sites"][site]["update_norm"] = norm
        if reply.told.residual_lost:
            self.hospitals.warn(site, "it has lost what rounding left out of its earlier updates; nothing else is lost")
        if not reply.num_pairs:
            self.events.emit("note", text=f"{site} has nothing to train on and gave no update")
        return True

    def _take_masked(self, reply: TrainReply, number: int, masked: MaskedRound) -> bool:
        """Add a masked update, of which nothing can be checked but its form; False where it is not in the sum. Raises
        ValueError where the form is wrong."""
        site, told = reply.site, reply.told.masked
        if reply.weights or reply.beside or reply.told.train or reply.told.counts:
            raise ValueError("the update is not masked (federation.secure_aggregation)")
        if site in masked.opening.keys:
            if told is None:
                raise ValueError("the reply holds no masked update")
            masked.add(site, told, reply.packed)
        elif told is not None or reply.packed:
            raise ValueError("the hospital was not asked for a masked update")
        self._note_update(reply, number)
        return site in masked.taken

    def _note_update(self, reply: TrainReply, number: int) -> None:
        site, told = reply.site, reply.told
        self.record.site_scores(number - 1, site, "valid", written(told.valid))
        if told.train is not None:
            self.record.site_scores(number, site, "train", written(told.train))
        self.record.site_memory(told.peak_memory_mb)
        if told.private_steps is not None:
            self.record.document["privacy"]["steps_taken"][site] = told.private_steps
        self.audit.append(
            "update received",
            site=site,
            round=number,
            pairs=None if told.masked else reply.num_pairs,
            sha256=reply.address or weights_digest(reply.weights),
        )

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

    def _close_run(self, last: Weights) -> Predictions:
        """The last model on every hospital's validation split, the best one on all test splits."""
        last_round, best_round = self.record.newest_round, self._best_round()
        best = last if best_round == last_round else self.checkpoints.load(best_round).weights
        if best_round != last_round:
            for reply in self._evaluate(last_round, last, "valid"):
                self._site_valid(last_round, reply)
        progress = self._progress(best_round)
        points = self._operating_points(best_round, best, progress)
        self.record.document["operating_points"] = {"round": best_round, **points.model_dump(mode="json")}
        for reply in self._evaluate(best_round, best, "test", points):
            self._site_tests(reply)
        self.network.layout.write(best)  # in a run in one place the hospitals have used the same network
        scores, predictions = self.central.final_test(self.network, self.store, points, progress)
        self.record.document["test"] = scores | {"round": best_round}
        self.record.document["test_with_duplicates"] = self.central.test_with_duplicates(
            scores, self.network, self.store, points, progress
        )
        self._personalise(best_round, best)
        self.hospitals.ledger.settle()
        return predictions

    def _operating_points(self, number: int, weights: Weights, progress: Progress) -> OperatingPoints:
        """Chosen on the centre's validation images and the hospitals', who count theirs in bins."""
        self.network.layout.write(weights)
        mine = self.central.valid_in_use(self.network, self.store, progress)
        told = Pooling(self.experiment.labels, self.experiment.evaluation.histogram_bins)
        for reply in self._evaluate(number, weights, "valid", self.central.operating_points(mine)):
            if number == self.record.newest_round:
                self._site_valid(number, reply)
            if (histograms := self._counted(reply, "valid")) is not None:
                told.add(reply.site, histograms)
        return self.central.operating_points(mine, told.told())

    def _personalise(self, number: int, weights: Weights) -> None:
        if not self.experiment.personalisation.fine_tune:
            return
        ask, models = self.hospitals, self._models(named_model(weights))
        tasks = [ask.task(PersonaliseTask, site, number, **models(site)) for site in ask.joined()]
        for reply in ask.replies(tasks, lambda: True):
            self.record.personal(reply.site, written(reply.told))

    def _counted(self, reply: EvaluateReply, split: Literal["valid", "test"]) -> Histograms | None:
        """The hospital's histograms; None where it has none, or counts more images than it can have."""
        histograms, federation = reply.told.histograms, self.experiment.federation
        if split == "valid":
            histograms = reply.told.valid_histograms
        must_say = not federation.secure_aggregation  # masks hide all counts
        try:
            check_histograms(histograms, self.record.passport(reply.site), split, federation.largest_hospital, must_say)
        except ValueError as error:
            self.hospitals.warn(
                reply.site, f"its {split} images have no part in common thresholds and figures: {error}"
            )
            return None
        return histograms

    def _site_valid(self, number: int, reply: EvaluateReply) -> None:
        if reply.told.valid is not None:
            self.record.site_scores(number, reply.site, "valid", written(reply.told.valid))

    def _site_tests(self, reply: EvaluateReply) -> None:
        self.record.site_tests(reply.site, written(reply.told))
        if (histograms := self._counted(reply, "test")) is not None:
            self._pooling.add(reply.site, histograms)
            self.record.document["pooled"] = self._pooling.document()

    def _evaluate(
        self, number: int, weights: Weights, split: str, points: OperatingPoints | None = None
    ) -> Iterator[EvaluateReply]:
        ask, models = self.hospitals, self._models(named_model(weights))
        work = {"splits": (split,), "operating_points": points}
        tasks = [ask.task(EvaluateTask, site, number, **models(site), **work) for site in ask.joined()]
        yield from ask.replies(tasks, lambda: True)

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


def written(told: BaseModel) -> dict[str, Any]:
    """As metrics.json holds it: what was not told stays out of it."""
    return told.model_dump(mode="json", exclude_unset=True)
