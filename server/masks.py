"""Masked rounds of a run: who is asked with whose keys, and the second message by which a sum is unmasked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedthorax.common.algorithms.algorithm import TakesSums
from fedthorax.common.config.travelling import experiment_digest
from fedthorax.common.masking.keys import RunKey, spoken
from fedthorax.common.masking.opening import threshold
from fedthorax.common.masking.shares import Kept
from fedthorax.common.messages.masking import UnmaskTask
from fedthorax.common.model.segments import SegmentLayout, Weights
from fedthorax.common.training.branch_counts import domains_for
from fedthorax.common.training.schedule import RoundPlan
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.masked_round import MaskedRound, opening_of


class StillMaskedError(RuntimeError):
    """A round's sum could not be unmasked; ``taken`` are the hospitals whose updates are in it."""

    def __init__(self, reason: str, taken: Sequence[str]) -> None:
        super().__init__(reason)
        self.taken = tuple(taken)


@dataclass(frozen=True)
class Masks:
    """``folder`` holds what must be said again after a crash, ``keys`` those that the hospitals told for the run."""

    hospitals: Hospitals
    layout: SegmentLayout
    folder: Path
    keys: Mapping[str, RunKey]
    _told: list[tuple[int, list[str]]] = field(default_factory=list)  # by phase, what was said to stay as it was

    def open(self, number: int, plan: RoundPlan, segments: Sequence[str], model: Mapping[str, str]) -> MaskedRound:
        """The round with all that have joined, told a key, and can contribute something; ``model`` by segment_sha256.

        Those are left out and named whose roster is another than most have, because the others would refuse the round,
        and those whose key is another than when the round was first opened. RuntimeError where too few are left.
        """
        ask, experiment = self.hospitals, self.hospitals.experiment
        federation, run = experiment.federation, ask.record.document["run"]
        keys = {
            site: self.keys[site]
            for site in ask.joined()
            if site in self.keys and site not in ask.left_out and self.keys[site].contributes
        }
        usual = Counter(told.roster for told in keys.values()).most_common(1)
        for site in [site for site, told in keys.items() if told.roster != usual[0][0]]:
            ask.fail(site, "train", "it trusts another roster than most hospitals; compare their fingerprints")
            del keys[site]
        if usual and usual[0][0]:
            ask.record.document["masks"]["roster"] = spoken(usual[0][0])
        opening, again = opening_of(self.folder, number, model, keys)
        for site in [site for site, told in keys.items() if opening.keys.get(site) != told]:
            ask.fail(
                site, "train", "it was not there with this key when the round was opened; it goes on with the next"
            )
        context = opening.context(run, number, experiment_digest(experiment), plan.phase_index, plan.learning_rate)
        domains = domains_for(opening, experiment, self.layout, segments)
        hospitals = len(experiment.data.hospitals)
        found = MaskedRound(
            self.folder, number, context, domains, opening, hospitals, federation.smallest_sum, ask.required, again
        )
        if not again:
            idle = [site for site in ask.joined() if site in self.keys and not self.keys[site].contributes]
            ask.require(len(opening.keys), found.fewest, *(f"{site}: it has nothing to train on" for site in idle))
        left = sorted({*segments} - {part.segment for domain in domains for part in domain.parts})
        if not domains:
            raise RuntimeError(
                f"round {number}: fewer than {federation.smallest_sum} hospitals contribute to {', '.join(left)}, "
                "which is all that the phase trains, so there is no sum (federation.smallest_sum)"
            )
        if left and (plan.phase_index, left) not in self._told:
            self._told.append((plan.phase_index, left))
            ask.events.emit(
                "note",
                text=f"round {number}: fewer than {federation.smallest_sum} hospitals contribute to {', '.join(left)}, "
                "so it stays as it was (federation.smallest_sum)",
            )
        return found

    def asks(self, masked: MaskedRound, site: str) -> bool:
        """Whether the hospital has a part in the round: it was opened with its key, or there is nothing it contributes.
        One that has not told its key since the run was resumed may still have the one that the round was opened with.
        """
        own, told = self.keys.get(site), masked.opening.keys.get(site)
        return told is not None if own is None else told == (own if own.contributes else None)

    def unmask(self, masked: MaskedRound, before: Weights, aggregate: TakesSums) -> None:
        """Give ``aggregate`` the sums of the round's parts. StillMaskedError where too few hospitals give their shares,
        or what a hospital has masked or dealt makes no sense."""
        ask, closed = self.hospitals, masked.close()
        ask.audit.append("sum closed", round=masked.number, sites=list(closed.taken), context=closed.context)
        tasks = [
            ask.task(
                UnmaskTask, site, masked.number, context=closed.context, taken=closed.taken, dealt=closed.dealt[site]
            )
            for site in closed.taken
        ]
        given: dict[str, dict[Kept, str]] = {}
        needed = threshold(masked.hospitals)
        for reply in ask.replies(tasks, lambda: len(given) >= needed):
            given[reply.site] = reply.told.by_slot()
        try:
            sums = masked.unmasked(given, before)
            if not ask.experiment.weighs_branches and len({each.weight for each in sums}) > 1:
                raise ValueError("its parts have different weights, so a hospital has not masked what it should have")
            aggregate.add_sums(sums)
        except ValueError as error:
            raise StillMaskedError(f"its sum cannot be used: {error}", closed.taken) from error
        last = sorted(site for site, entry in ask.record.rounds[-2]["sites"].items() if entry.get("masked"))
        if list(closed.taken) != last:
            roster = ask.record.document["masks"]["roster"] or "identities made up for a simulation"
            told = f"the sum is of {', '.join(closed.taken)}, and nobody can see or check the update of one"
            text = f"round {masked.number} is masked: {told}; roster: {roster}"
            ask.events.emit("note", text=text, about="masks")
        for site in sorted(masked.wrong):
            ask.warn(site, "shares that it gave do not belong to the masks that they are of; the others' were enough")
