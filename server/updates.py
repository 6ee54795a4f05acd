"""The updates of a round: who is asked for one, which may count, and who has much of the weight."""

import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import Aggregate, RoundShape, State, TakesSums, Update
from fedthorax.common.algorithms.spool import KeptUpdates
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.ground.wording import number_of
from fedthorax.common.messages.replies import DescribeReply, TrainReply
from fedthorax.common.messages.statistics import UNKNOWN
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.dual import HEADS
from fedthorax.common.model.segments import Weights, segments_of, weights_digest
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.fit import labels_reach
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import RoundPlan, Trainable, scope_of
from fedthorax.server.claims import (
    check_beside,
    check_branch_counts,
    check_counts,
    check_step,
    check_update,
    unpacked,
)
from fedthorax.server.held_segments import models_by_hospital, named_model
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.masked_round import MaskedRound
from fedthorax.server.masks import Masks, StillMaskedError
from fedthorax.server.newcomers import Newcomers
from fedthorax.server.record import written
from fedthorax.server.steps import FEWEST, far_from_others, long_beside, measured

_SHARE = "of the round's weight"


@dataclass
class Updates:
    """Asks the hospitals of a run for updates; who sends none that may count is a failure of the round."""

    hospitals: Hospitals
    network: Network
    newcomers: Newcomers
    masking: Path  # folder for what masked rounds must say again after a crash
    # Of this round, by hospital: how far each part of the model was moved, how long what came beside the update is, and
    # what the update weighs.
    _paces: dict[str, dict[str, float]] = field(init=False, default_factory=dict)
    _lengths: dict[str, float] = field(init=False, default_factory=dict)
    _weighs: dict[str, Mapping[str, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.experiment, self.record = self.hospitals.experiment, self.hospitals.record
        self._algorithm = algorithm_of(self.experiment.federation.strategy)
        self._masks = Masks(self.hospitals, self.network.layout, self.masking, self.newcomers.run_keys)

    def require_work(self, phases: Sequence[PhaseConfig]) -> None:
        """Raise ValueError that names one of ``phases`` which no hospital can train, as far as they have told: hidden
        counts may be labels, and one that has yet to join may have all."""
        sites = self.hospitals.joined()
        for phase in phases if set(sites) == set(self.hospitals.names) else ():
            segments = self.network.trained_segments(scope_of(phase))
            if not any(self._may_train(site, segments) for site in sites):
                raise ValueError(
                    f"training.phases trains {phase.words} for {number_of(phase.rounds, 'round')}, but no hospital has "
                    "images with a label that would teach it: leave the phase out, or name a hospital that has some"
                )

    def _may_train(self, site: str, segments: Sequence[str]) -> bool:
        told = ((self.record.document["statistics"] or {}).get("sites") or {}).get(site)
        of_head = told and {"disease": told["findings"].values(), "cancer": [told["cancer_classes"]]}
        known = {
            head: not of_head
            or any(count != 0 for table in of_head[head] for name, count in table["cells"].items() if name != UNKNOWN)
            for head in HEADS
        }
        masked = self.experiment.federation.secure_aggregation  # no number of pairs is told then
        own = segments_of(self.hospitals.modalities(site), segments)
        return (masked or self.record.passport(site).pairs > 0) and labels_reach(self.experiment, own, known)

    def gather(
        self,
        number: int,
        weights: Weights,
        segments: tuple[str, ...],
        plan: RoundPlan,
        state: State,
        aggregate: Aggregate,
    ) -> set[str]:
        """The hospitals whose updates are in ``aggregate`` in the end."""
        work = {"phase": plan.phase_index, "learning_rate": plan.learning_rate, "stopped": plan.stopped}
        ask = self.hospitals
        for site in ask.left_out:
            ask.fail(site, "train", "left out of this round by the lead (--leave-out)")
        model = named_model(weights)
        self.newcomers.forget_lost_keys()
        masks = self._masks
        masked = None
        if self.experiment.federation.secure_aggregation:
            masked = masks.open(number, plan, segments, model["sha256"])
        required = masked.fewest if masked else ask.required
        models = models_by_hospital(model, self.network.layout, ask.modalities)
        told = self._algorithm.tell(state)
        self._paces, self._lengths, self._weighs = {}, {}, {}
        training = []
        for site in (name for name in ask.joined() if name not in ask.left_out):
            if masked and not masks.asks(masked, site):
                continue
            own = models(site)
            beside = {name: values for name, values in told.items() if name in own["weights"]}
            opening = masked.opening if masked and site in masked.opening.keys else None
            training.append(ask.task(TrainTask, site, number, **own, beside=beside, masking=opening, **work))
        asked = {task.site for task in training}
        tasks = [*training, *self.newcomers.newcomers(asked)]  # who joins now trains from the next round on
        accepted = set(masked.taken) if masked else set[str]()  # whose words an earlier try of the round has summed
        with contextlib.closing(KeptUpdates()) as kept:
            compared = self.experiment.federation.unusual_updates != "off" and len(training) >= FEWEST
            for reply in ask.replies(
                tasks, lambda: len(accepted) >= required, lambda left: len(accepted) + left >= required
            ):
                if isinstance(reply, DescribeReply):
                    if self.newcomers.accept(reply):
                        self.newcomers.leave_out()
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
            self._require_updates(number, len(self._weighs.keys() & accepted))
            self._tell_shares(accepted)
        return accepted

    def _require_updates(self, number: int, sent: int) -> None:
        """Who has nothing to train on has answered, and is none of the hospitals among whom a strategy chooses."""
        federation = self.experiment.federation
        if sent < (needed := self._algorithm.refuses.least_sites(federation.strategy_settings)):
            raise RuntimeError(
                f"round {number}: federation.strategy {federation.strategy} needs the updates of {needed} hospitals, "
                f"but only {sent} have anything to train on in this phase"
            )

    def _put_aside(self, number: int, aggregate: Aggregate, kept: KeptUpdates) -> set[str]:
        """Take out again the updates that lie far from the others. Only now: the order of arrival decides nothing."""
        federation, entries = self.experiment.federation, self.record.rounds[number]["sites"]
        far = far_from_others({site: self._paces[site] for site in kept.sites}, federation.unusual_factor)
        far = long_beside({site: self._lengths[site] for site in kept.sites if site in self._lengths}) | far
        for site, reason in sorted(far.items()):
            if federation.unusual_updates == "warn":
                self.hospitals.warn(site, reason)
            else:
                aggregate.remove(kept.again(site))
                entries[site]["update_norm"] = None
                self.hospitals.fail(site, "update", f"refused: {reason}")
        return set(far) if federation.unusual_updates == "refuse" else set()

    def _tell_shares(self, taken: Collection[str]) -> None:
        """A hospital that has much of the weight is named once, however often the run is gone on with."""
        warned = [warning for entry in self.record.rounds for warning in entry["warnings"]]
        told = {warning["site"] for warning in warned if _SHARE in warning["reason"]}
        for site, words in self._notable(taken).items():
            if site not in told:
                self.hospitals.warn(site, f"it has {words}")

    def _notable(self, taken: Collection[str]) -> dict[str, str]:
        """What one of those ``taken`` has much of: pairs, or of what a branch is weighed by, of which the numbers are
        not written down."""
        branches = [("X-rays", "xray"), ("CT slices", "ct")] if self.experiment.weighs_branches else []
        found: dict[str, str] = {}
        for words, count in (("pairs", "pairs"), *branches):
            behind = {site: own for site in sorted(taken) if (own := self._weighs.get(site, {}).get(count, 0))}
            total = sum(behind.values())
            for site, own in behind.items():
                if len(behind) > 2 and own > self.experiment.federation.notable_share * total and site not in found:
                    numbers = f": {own} of {total} pairs" if count == "pairs" else f" by {words}"
                    found[site] = f"{own / total:.0%} {_SHARE}{numbers}"
        return found

    def shape(self, segments: tuple[str, ...], scope: Trainable) -> RoundShape:
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
                if beside:
                    self._lengths[site] = math.hypot(*(np.linalg.norm(vector) for vector in beside.values()))
                if not self.experiment.weighs_branches:
                    # Weighed by pairs alone, a hospital without an encoder votes for the one that there is.
                    values = {segment: values.get(segment, weights[segment]) for segment in segments}
                    if beside:
                        beside = {name: beside.get(name, np.zeros_like(value)) for name, value in values.items()}
                loss = reply.told.valid.loss
                counts = reply.told.counts.model_dump() if reply.told.counts else {}
                self._weighs[site] = {"pairs": reply.num_pairs, **counts}
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
        if not reply.num_pairs and not self._was_idle(site, number, plan):
            text = f"{site} has nothing to train on in this phase and gives no update"
            self.hospitals.events.emit("note", text=text)
        return True

    def _was_idle(self, site: str, number: int, plan: RoundPlan) -> bool:
        """Whether the hospital had nothing to train on when it last answered in this phase."""
        phase = self.record.rounds[number - plan.position : number]
        told = [train for entry in phase if (train := entry["sites"][site]["train"])]
        return bool(told) and not told[-1]["pairs"]

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
        self.hospitals.audit.append(
            "update received",
            site=site,
            round=number,
            pairs=None if told.masked else reply.num_pairs,
            sha256=reply.address or weights_digest(reply.weights),
        )
