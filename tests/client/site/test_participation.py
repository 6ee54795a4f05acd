"""Whether a hospital takes part."""

import subprocess
import sys
from pathlib import Path

import pytest

from fedthorax.client.site.participation import Participation, run_summary
from fedthorax.common.config import Experiment
from fedthorax.common.config.patient_privacy import PatientPrivacy

from .conftest import settings, task


@pytest.fixture
def participation(tmp_path: Path) -> Participation:
    return Participation(tmp_path)


def test_by_itself_a_hospital_takes_part_in_every_run(participation: Participation, experiment: Experiment) -> None:
    verdict = participation.verdict(settings(participation="always"), task(experiment), experiment)
    assert verdict.go


def test_a_run_waits_for_a_person_and_goes_on_once_approved(
    participation: Participation, experiment: Experiment
) -> None:
    asking, asked = settings(participation="ask"), task(experiment, run="r1")
    assert participation.verdict(asking, asked, experiment).ask
    participation.request(asked, run_summary(experiment, asking))
    assert list(participation.waiting()) == ["r1"]
    participation.decide(participation.find("tiny"), "approved")
    assert participation.verdict(asking, asked, experiment).go
    assert participation.waiting() == {}


def test_an_experiment_that_was_changed_after_the_approval_waits_again(
    participation: Participation, experiment: Experiment
) -> None:
    asking, asked = settings(participation="ask"), task(experiment, run="r1")
    participation.request(asked, run_summary(experiment, asking))
    participation.decide("r1", "approved")
    changed = experiment.model_copy(update={"seed": 99})
    verdict = participation.verdict(asking, task(changed, run="r1"), changed)
    assert (verdict.go, verdict.ask) == (False, True)
    assert verdict.reason == "the experiment was changed after it was approved"
    participation.request(task(changed, run="r1"), run_summary(changed, asking))
    assert list(participation.waiting()) == ["r1"]


def test_what_was_changed_while_a_person_looked_at_it_is_not_approved(
    participation: Participation, experiment: Experiment
) -> None:
    asking = settings(participation="ask")
    participation.request(task(experiment, run="r1"), run_summary(experiment, asking))
    _, shown = participation.asked("r1")
    changed = experiment.model_copy(update={"seed": 99})
    participation.request(task(changed, run="r1"), run_summary(changed, asking))
    with pytest.raises(ValueError, match="changed while it was shown"):
        participation.decide("r1", "approved", shown)
    assert not participation.verdict(asking, task(changed, run="r1"), changed).go
    participation.decide("r1", "approved", participation.asked("r1")[1])
    assert participation.verdict(asking, task(changed, run="r1"), changed).go


def test_a_standing_that_nobody_knows_is_no_consent(participation: Participation, experiment: Experiment) -> None:
    (participation.folder / "standing.json").write_text('{"standing": "pausd"}')
    with pytest.raises(ValueError, match=r"standing\.json: damaged"):
        participation.verdict(settings(participation="always"), task(experiment), experiment)


def test_only_named_runs(participation: Participation, experiment: Experiment) -> None:
    named = settings(participation="named", runs=("tiny",))
    assert participation.verdict(named, task(experiment), experiment).go
    other = experiment.model_copy(update={"name": "other"})
    assert "in named runs only, and this is none of them" in participation.verdict(named, task(other), other).reason


@pytest.mark.parametrize("participates", ["always", "ask", "named"])
def test_pause_withdrawal_and_refusal_hold_before_everything_else(
    participation: Participation, experiment: Experiment, participates: str
) -> None:
    site = settings(participation=participates, runs=("tiny",))
    asked = task(experiment, run="r1")
    participation.stand("paused")
    assert participation.verdict(site, asked, experiment).reason == "the hospital has paused its part for now"
    participation.stand("withdrawn")
    assert "has withdrawn" in participation.verdict(site, asked, experiment).reason
    participation.stand("takes part")
    participation.decide("r1", "refused")
    assert participation.verdict(site, asked, experiment).reason == "the hospital takes no part in this run"


def test_what_a_finished_run_brings_needs_no_approval(participation: Participation, experiment: Experiment) -> None:
    assert participation.verdict(settings(participation="ask"), task(experiment, "finish"), experiment).go


def test_a_name_that_means_no_run_or_two_says_which_wait(participation: Participation, experiment: Experiment) -> None:
    site = settings()
    for run in ("aa1", "aa2"):
        participation.request(task(experiment, run=run), run_summary(experiment, site))
    for text, words in (("aa", "2 runs of this name"), ("zz", "no run of this name"), ("tiny", "2 runs")):
        with pytest.raises(ValueError, match=words):
            participation.find(text)
    assert participation.find("aa2") == "aa2"


def test_a_person_is_shown_what_would_be_trained_and_what_would_leave(experiment: Experiment) -> None:
    summary = run_summary(experiment, settings(limits={"smallest_count": 10, "metrics": ("loss",)}))
    assert summary["phases"] == [
        "2 rounds: fusion and heads, backbones frozen, once over the images, learning rate 0.001"
    ]
    assert summary["leaves"][:2] == [
        "how many images there are by finding, class, sex, age, size, view and scanner, and of pairs of findings",
        "of these counts: from 10 patients on, rounded to 5; else null (images)",
    ]
    assert summary["leaves"][5].startswith("after each of 2 rounds: the trained weights")
    assert summary["leaves"][6:] == [
        "of this hospital's own images: losses",
        "counts of images: from 10 on; below that, or where what is left of the whole is less: null (images)",
        "losses: where losses leave, over none or at least 10 of each kind; else null",
        "nothing else: every field has a rule, and `fedthorax site leaves` prints them all",
    ]
    groups = "once, at the end, the scores of its test images by sex, age, view and scanner"
    assert f"{groups}, without groups of fewer than 5 patients" in run_summary(experiment, settings())["leaves"]
    privacy = PatientPrivacy(mechanism="local", epsilon=8, delta=1e-4, sampling_rate=1.0, steps=2, patients=100)
    private = run_summary(experiment.model_copy(update={"privacy": privacy}), settings())["leaves"]
    assert private[5] == "after each of 2 rounds: the trained weights"
    limit = settings(limits={"privacy": {"epsilon": 10, "delta": 1e-4}})
    budgeted = run_summary(experiment.model_copy(update={"privacy": privacy}), limit, spent=2.5)["leaves"]
    assert budgeted[6] == f"{private[6]}; of the 10 that all runs may spend 2.5 is spent"
    assert private[6].startswith("these are private for patients (local): epsilon 8 of delta 0.0001 for the whole run")
    strict = run_summary(experiment, settings(limits={"smallest_count": 10}))["leaves"]
    assert f"{groups}, without groups of fewer than 10 patients" in strict
    assert "scores: where at least 10 have the label, and as many lack it; else null" in strict


def test_a_damaged_decision_file_is_named(participation: Participation, experiment: Experiment) -> None:
    (participation.folder / "decisions.json").write_text("{")
    with pytest.raises(ValueError, match=r"decisions\.json: damaged"):
        participation.verdict(settings(), task(experiment), experiment)


def test_who_agrees_to_give_numbers_has_not_agreed_to_train(
    participation: Participation, experiment: Experiment
) -> None:
    asking, query = settings(participation="ask"), task(experiment, "statistics", run="r1")
    summary = run_summary(experiment, asking, "statistics")
    assert summary["phases"] == []
    assert summary["leaves"][1] == "of these counts: from 5 patients on, rounded to 5; else null (images)"
    assert not any("weights" in words for words in summary["leaves"])
    participation.request(query, summary)
    participation.decide("r1", "approved")
    assert participation.verdict(asking, query, experiment).go
    assert participation.verdict(asking, task(experiment, run="r1"), experiment).ask


@pytest.mark.parametrize(
    ("change", "leaves", "stays"),
    [
        ({"federation": {"strategy": "scaffold"}}, "the mean of the gradients of the training", None),
        ({"federation": {"strategy": "fedbn"}}, None, "batch normalisation of the network"),
        ({"personalisation": {"fine_tune": ["heads"]}}, "how good a model fine-tuned here is", "the model that is"),
    ],
)
def test_a_person_is_told_what_a_strategy_takes_out_and_what_it_leaves_here(experiment, change, leaves, stays):
    raw = experiment.model_dump()
    for name, values in change.items():
        raw[name] |= values
    summary = run_summary(Experiment.model_validate(raw), settings())
    assert leaves is None or any(leaves in line for line in summary["leaves"])
    assert stays is None or any(line.startswith(stays) for line in summary["stays"])


def test_who_decides_does_not_wait_for_tensorflow() -> None:
    code = "import sys, fedthorax.client.site.participation; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
