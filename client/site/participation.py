"""Whether this hospital takes part: by itself, after a person has agreed, in named runs only, or not at the moment.

The worker asks here before every task. People decide with ``fedthorax site approve | refuse | pause | resume |
withdraw``, which write small files below ``state/``; the worker notices them while it waits and between two steps.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.withheld import allowed_here
from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.config import Experiment
from fedthorax.common.disclosure.allowed import Allowed
from fedthorax.common.disclosure.in_words import said
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.leaving import Count, Figure, Loss, Rule, Shown
from fedthorax.common.ground.owner_only import hand_to_owner
from fedthorax.common.ground.wording import counted
from fedthorax.common.messages.message import Task

Standing = Literal["takes part", "paused", "withdrawn"]
Decision = Literal["approved", "refused"]


@dataclass(frozen=True)
class Verdict:
    """``go``: do the task. Otherwise ``reason`` says in words why not; ``ask``: a person has yet to decide."""

    go: bool
    ask: bool = False
    reason: str = ""


class Participation:
    """The decisions kept in ``folder``, which is a hospital's ``state/``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def standing(self) -> Standing:
        value = self._read("standing").get("standing", "takes part")
        if value not in get_args(Standing):
            raise ValueError(f"{self.folder / 'standing.json'}: damaged; decide again (site pause, resume or withdraw)")
        standing: Standing = value
        return standing

    def stand(self, standing: Standing) -> None:
        self._write("standing", {"standing": standing, "time": time.time()})

    def verdict(self, settings: SiteSettings, task: Task, experiment: Experiment) -> Verdict:
        """What holds now for the task; nothing is written."""
        standing = self.standing
        if standing == "withdrawn":
            return Verdict(False, reason="the hospital has withdrawn from the consortium")
        if standing == "paused":
            return Verdict(False, reason="the hospital has paused its part for now")
        decided = self._read("decisions").get(task.run, {})
        if decided.get("decision") == "refused":
            return Verdict(False, reason="the hospital takes no part in this run")
        if task.kind == "finish" or settings.participation == "always":
            return Verdict(True)
        if settings.participation == "named":
            if experiment.name in settings.runs:
                return Verdict(True)
            return Verdict(False, reason="the hospital takes part in named runs only, and this is none of them")
        if decided.get("decision") == "approved":
            if decided.get("experiment_sha256") == experiment_sha256(task):
                return Verdict(True)
            return Verdict(False, ask=True, reason="the experiment was changed after it was approved")
        return Verdict(False, ask=True, reason="the hospital has not approved the run")

    def request(self, task: Task, summary: dict[str, Any]) -> None:
        """Note that the run waits for a person; ``summary`` is what that person is shown."""
        requests = self._read("requests")
        asked = {"experiment_sha256": experiment_sha256(task), "summary": summary}
        known = requests.get(task.run, {})
        if {key: known.get(key) for key in asked} != asked:
            requests[task.run] = {**asked, "time": time.time()}
            self._write("requests", requests)

    def waiting(self) -> dict[str, dict[str, Any]]:
        """The runs that nobody has decided on as they stand now, oldest first, by id."""
        decisions = self._read("decisions")
        undecided = {
            run: entry
            for run, entry in self._read("requests").items()
            if decisions.get(run, {}).get("experiment_sha256") != entry["experiment_sha256"]
        }
        return dict(sorted(undecided.items(), key=lambda item: float(item[1]["time"])))

    def find(self, text: str) -> str:
        """The id of the run that ``text`` means: an id or its beginning, or the name of the experiment.

        ValueError where it means none, or several.
        """
        requests = self._read("requests")
        found = [text] if text in requests else [run for run in requests if run.startswith(text)]
        if not found:
            found = [run for run, entry in self.waiting().items() if entry["summary"]["name"] == text]
        if not found:
            found = [run for run, entry in requests.items() if entry["summary"]["name"] == text]
        if len(found) != 1:
            known = ", ".join(f"{entry['summary']['name']} ({run[:12]})" for run, entry in self.waiting().items())
            what = "no run" if not found else f"{len(found)} runs"
            raise ValueError(f"{text}: {what} of this name or id; waiting: {known or 'none'}")
        return found[0]

    def decide(self, run: str, decision: Decision, shown: str | None = None) -> None:
        """Approve or refuse the run as it was last asked for. Approval is of this one experiment, to the letter:
        ValueError where it is no longer the one that was ``shown``, of this experiment_sha256."""
        decisions = self._read("decisions")
        asked = self._read("requests").get(run, {}).get("experiment_sha256")
        if shown is not None and shown != asked:
            raise ValueError(
                f"{run}: the experiment was changed while it was shown, so nothing was decided; look again"
            )
        decisions[run] = {"decision": decision, "experiment_sha256": asked, "time": time.time()}
        self._write("decisions", decisions)

    def asked(self, run: str) -> tuple[dict[str, Any], str]:
        """What a person is to be shown of the run, and the experiment_sha256 of it."""
        entry = self._read("requests")[run]
        return entry["summary"], entry["experiment_sha256"]

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / f"{name}.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ValueError(f"{path}: damaged ({error}); mend or remove it, then decide again") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}: damaged (not a mapping of keys); mend or remove it, then decide again")
        return value

    def _write(self, name: str, value: dict[str, Any]) -> None:
        path = self.folder / f"{name}.json"
        write_json(path, value)
        hand_to_owner(path)  # a person decides as root, and the worker's user has to read it


NOTHING_ELSE = "nothing else: every field has a rule, and `fedthorax site leaves` prints them all"


def experiment_sha256(task: Task) -> str:
    """Of what is asked: who has agreed to give statistics has not agreed to train the same experiment."""
    what = "statistics\n" if task.kind == "statistics" else ""
    return hashlib.sha256((what + task.experiment).encode()).hexdigest()


def run_summary(
    experiment: Experiment, settings: SiteSettings, kind: str = "train", roster: str = "", spent: float | None = None
) -> dict[str, Any]:
    """What a run, or a query for statistics, would do here and what would leave, in plain sentences, for the person who
    decides. ``network`` and ``phases`` are empty for a query; ``roster`` is the fingerprint of the trusted one,
    ``spent`` the epsilon of all runs so far, where the hospital has a limit."""
    facts = {
        "name": experiment.name,
        "hospitals": list(experiment.data.hospitals),
        "network": "",
        "findings": list(experiment.labels.findings),
        "cancer_classes": list(experiment.labels.cancer_classes),
        "phases": [],
    }
    stays = ["the images", "labels and patients", "the private key"]
    if kind == "statistics":
        return facts | {
            "leaves": [*_counts(settings, allowed_here(settings, experiment)), NOTHING_ELSE],
            "stays": stays,
        }
    training, model, limits = experiment.training, experiment.model, settings.limits
    phases = []
    for phase in training.phases:
        rate = training.learning_rate if phase.learning_rate is None else phase.learning_rate
        passes = "once" if phase.local_epochs == 1 else f"{phase.local_epochs} times"
        how = f"{phase.words}, {passes} over the images, learning rate {rate:g}"
        phases.append(f"{counted(phase.rounds, 'round')}: {how}")
    masked = experiment.federation.secure_aggregation
    half = algorithm_of(experiment.federation.strategy).hospital
    own = [half.keeps] if half.keeps else []
    allowed = allowed_here(settings, experiment)
    leaves = [
        *_counts(settings, allowed),
        "how many images and patients each split has, and of none where one has few; files left out, by their fault",
        "which of the server's test images are here too (compared by keyed hashes)",
        f"after each of {counted(training.num_rounds, 'round')}: the trained weights"
        + (
            f", masked: the server learns the sum of {experiment.federation.smallest_sum} hospitals or more, and "
            f"nothing of one; roster {roster or 'none is trusted here yet'}"
            if masked
            else ("" if experiment.privacy else ", and how many pairs they were trained on")
        ),
    ]
    if (privacy := experiment.privacy) is not None:
        leaves.append(
            f"these are private for patients ({privacy.mechanism}): epsilon {privacy.epsilon:g} of delta "
            f"{privacy.delta:g} for the whole run, with no loss and no number of pairs; not covered are counts, and "
            "scores of validation and test images"
        )
        if limits.privacy is not None:
            leaves[-1] += f"; of the {limits.privacy.epsilon:g} that all runs may spend {spent or 0:.3g} is spent"
    if half.sends:
        leaves.append(f"with them {half.sends}")
    if experiment.personalisation.fine_tune:
        leaves.append("how good a model fine-tuned here is on this hospital's own test images, beside the common one")
        own.append("the model that is fine-tuned here")
    if limits.metrics:
        names = {"loss": "losses", "disease": "scores of the X-ray findings", "cancer": "scores of the CT classes"}
        leaves.append(f"of this hospital's own images: {', '.join(names[name] for name in limits.metrics)}")
        if {"disease", "cancer"} & set(limits.metrics):
            leaves.append("the thresholds and the calibration that suit this hospital's own images best")
            smallest = allowed.policy.smallest_count
            leaves.append(
                "once, at the end, the scores of its test images by sex, age, view and scanner"
                + (f", without groups of fewer than {smallest} patients" if smallest > 1 else "")
            )
    rules: list[tuple[str, bool, Rule]] = [
        ("counts of images", True, Count()),
        ("losses", "loss" in limits.metrics, Loss(())),
        ("scores", bool({"disease", "cancer"} & set(limits.metrics)), Figure()),
    ]
    leaves += [f"{what}: {said(rule, allowed)}" for what, leave, rule in rules if leave]
    leaves.append(NOTHING_ELSE)
    network = f"two {model.backbone}, {model.image_size} x {model.image_size} pixels"
    return facts | {"network": network, "phases": phases, "leaves": leaves, "stays": [*stays, *own]}


def _counts(settings: SiteSettings, allowed: Allowed) -> list[str]:
    """What the statistics tell."""
    leaves = [
        "how many images there are by finding, class, sex, age, size, view and scanner, and of pairs of findings",
        f"of these counts: {said(Shown(), allowed)}",
        "the mean histogram of grey levels",
    ]
    if settings.duplicate_key is not None:
        leaves.append("keyed hashes, by which the server counts the images that two hospitals hold, and no more")
    return leaves
