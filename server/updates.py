"""The updates of a round: who is asked for one, which may count, and who has much of the weight."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.algorithm import Aggregate, RoundShape, State, TakesSums, Update
from fedthorax.common.algorithms.spool import KeptUpdates
from fedthorax.common.messages.replies import DescribeReply, TrainReply
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.segments import Weights, segments_of, weights_digest
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import RoundPlan, Trainable
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
from fedthorax.server.steps import FEWEST, far_from_others, measured


@dataclass
class Updates:
    """Asks the hospitals of a run for updates; who sends none that may count is a failure of the round."""

    hospitals: Hospitals
    network: Network
    newcomers: Newcomers
    masking: Path  # folder for what masked rounds must say again after a crash
    _paces: dict[str, dict[str, float]] = field(init=False, default_factory=dict)  # of this round, by part of the model

    def __post_init__(self) -> None:
        self.experiment, self.record = self.hospitals.experiment, self.hospitals.record
        self._algorithm = algorithm_of(self.experiment.federation.strategy)

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
        masks = Masks(ask, self.network.layout, self.masking, self.newcomers.run_keys)
        masked = None
        if self.experiment.federation.secure_aggregation:
            masked = masks.open(number, plan, segments, model["sha256"])
        required = masked.fewest if masked else ask.required
        models = models_by_hospital(model, self.network.layout, ask.modalities)
        told = self._algorithm.tell(state)
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
            self.hospitals.events.emit("note", text=f"{site} has nothing to train on and gave no update")
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
        self.hospitals.audit.append(
            "update received",
            site=site,
            round=number,
            pairs=None if told.masked else reply.num_pairs,
            sha256=reply.address or weights_digest(reply.weights),
        )
