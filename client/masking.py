"""What a site worker does under masks: it says which parts of the model it can contribute to, masks its update, and
gives back shares. What it knows of the other hospitals is the roster that a person has pinned here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.client.site_store import SiteStore
from fedthorax.common.config import Experiment
from fedthorax.common.config.travelling import experiment_digest
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.masking.hospital import Masking, end_run
from fedthorax.common.masking.keys import RunKey, Trust
from fedthorax.common.masking.words import name_of, words_of
from fedthorax.common.messages.masking import MaskedTold, Unmasked, UnmaskTask
from fedthorax.common.messages.message import PackedSegments, Segments, Task
from fedthorax.common.messages.replies import UnmaskReply
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.segments import MODALITIES, SegmentLayout
from fedthorax.common.training.branch_counts import branch_counts, domains_for
from fedthorax.common.training.fit import FitReport

_SELDOM = 0.01


@dataclass(frozen=True)
class Masks:
    """``trust`` raises where the hospital trusts nobody yet; None is a simulation, in which identities are made up and
    nobody is protected."""

    own: SiteStore
    trust: Callable[[], Trust] | None = None

    def run_key(self, task: Task, experiment: Experiment, images: SiteImages, pairs: int) -> RunKey:
        """Signed at the hospital: its key for the run, and what it can contribute to."""
        return self._of(task, experiment).run_key(contributions(experiment, images, pairs) if pairs else ())

    def require(self, task: TrainTask, experiment: Experiment, pairs: int) -> None:
        """Before training: ValueError where an update would leave unmasked, or a round is not as it should be."""
        if task.masking is not None:
            self._of(task, experiment).check_opening(task.masking)
            came = {name: digest for name, digest in task.sha256.items() if task.masking.model.get(name) != digest}
            if came:
                raise ValueError(f"{', '.join(sorted(came))}: the round was opened for another model")
        elif pairs:
            raise ValueError("the experiment masks updates, but the task has no keys of the other hospitals")

    def masked(
        self,
        task: TrainTask,
        experiment: Experiment,
        layout: SegmentLayout,
        trained: tuple[str, ...],
        came: Segments,
        update: Segments,
        images: SiteImages,
        fitted: FitReport,
        steps: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> tuple[MaskedTold, PackedSegments]:
        """What leaves of an update: under masks its words, in the clear nothing that says how many images it is of.
        ``steps`` are those of the update where they are known exactly (private ones)."""
        masking, opening = self._of(task, experiment), task.masking
        if opening is None:
            raise ValueError("the task has no keys of the other hospitals")
        by_patient = experiment.data.sample_by == "patient"
        counts = branch_counts(images.splits["train"], fitted, by_patient)
        domains = domains_for(opening, experiment, layout, trained)
        words = {}
        for number, domain in enumerate(domains):
            if task.site in domain.group.members:
                weights = [part.weight(counts) if experiment.weighs_branches else fitted.pairs for part in domain.parts]
                if experiment.privacy is None and not min(weights):
                    raise ValueError(
                        f"{domain.parts[weights.index(0)].segment}: nothing stands behind a part of the update that "
                        "this hospital said it contributes to, so the sum would show that of fewer others"
                    )
                if max(weights) > (most := experiment.federation.largest_hospital):
                    raise ValueError(
                        f"{max(weights)}, at most {most}: the update weighs more than the lead allows to one hospital "
                        "(federation.largest_hospital)"
                    )
                words[number] = words_of(domain, update, came, weights, masking.hospitals, steps)
        groups = [domain.group for domain in domains]
        found = masking.masked(task.round, opening, task.phase, task.learning_rate, groups, words)
        packed = {name_of(number): values.view(np.uint8) for number, values in found.words.items()}
        return MaskedTold.of(found), packed

    def unmask(self, task: UnmaskTask, experiment: Experiment) -> UnmaskReply:
        shares = self._of(task, experiment).shares(task.round, task.context, task.taken, task.dealt)
        return UnmaskReply(site=task.site, round=task.round, results=Unmasked.of(shares))

    def end(self, task: Task, experiment: Experiment) -> None:
        """The run is over, so its secrets are not needed any more."""
        if experiment.federation.secure_aggregation:
            end_run(self.own.masking_file(task))

    def _of(self, task: Task, experiment: Experiment) -> Masking:
        federation, trust = experiment.federation, self.trust() if self.trust else None
        if not federation.secure_aggregation:
            raise ValueError("the experiment does not mask updates (federation.secure_aggregation)")
        return Masking(
            self.own.masking_file(task),
            trust.identity if trust else None,
            trust.roster if trust else None,
            task.run,
            task.site,
            experiment_digest(experiment),
            len(experiment.data.hospitals),
            federation.smallest_sum,
            experiment.required_sites,
        )


def contributions(experiment: Experiment, images: SiteImages, pairs: int) -> tuple[str, ...]:
    """The names of counts (branch_counts) that are not 0 here: what of the model the hospital's images can teach."""
    train, labels = images.splits["train"], experiment.labels
    if experiment.privacy is not None:  # noise of every hospital has to be in every part
        return ("xray", "ct", "fusion", "xray_token", "ct_token", "cancer", *labels.findings)
    sides = (_absent(experiment, images, side, pairs) for side in MODALITIES)
    as_if = FitReport(None, None, None, pairs, 1, 1, 0.0, *sides)
    counts: dict[str, Any] = branch_counts(train, as_if)
    findings = [name for name, known in zip(labels.findings, counts["findings"], strict=True) if known]
    return (*(name for name, count in counts.items() if name != "findings" and count), *findings)


def _absent(experiment: Experiment, images: SiteImages, side: str, pairs: int) -> int:
    """Whether a token stands for this side in some pairs of every round. Where pairs lose a side by chance, that is so
    unless one round in a hundred or more would have none: a sum with nothing of this hospital shows others'."""
    none = (1 - experiment.training.modality_dropout / 2) ** pairs if images.modalities == MODALITIES else 1.0
    return int(side not in images.modalities or none < _SELDOM)
