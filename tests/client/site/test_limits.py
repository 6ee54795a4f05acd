"""A task is measured against the hospital's own limits."""

from typing import Any

import pytest

from fedthorax.client.site.limits import refusals
from fedthorax.client.site.task_desk import at_this_site
from fedthorax.common.config import Experiment
from fedthorax.common.config.patient_privacy import PatientPrivacy
from fedthorax.common.config.personalisation import PersonalisationConfig
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.disclosure.sentences import error_outside

from .conftest import settings, task


def test_an_ordinary_task_is_not_refused(experiment: Experiment) -> None:
    assert refusals(task(experiment), experiment, settings()) == []


@pytest.mark.parametrize(
    ("limits", "asked", "words"),
    [
        ({"require_masking": True}, {}, "the hospital lets updates leave only masked (limits.require_masking)"),
        ({"tasks": ["describe"]}, {}, "the hospital does not allow the task train (limits.tasks)"),
        ({}, {"site": "south"}, "the task is for another hospital"),
        ({"max_rounds": 1}, {}, "the hospital allows at most 1 rounds (limits.max_rounds), but 2 was asked"),
        ({"max_batch_size": 8}, {}, "at most 8 batch_size (limits.max_batch_size), but 16 was asked"),
        ({"max_image_size": 128}, {}, "at most 128 image_size (limits.max_image_size), but 224 was asked"),
        ({"max_units": 512}, {}, "at most 512 units of a dense layer (limits.max_units), but 1024 was asked"),
        ({}, {"learning_rate": 0.5}, "at most 0.1 learning rate (limits.max_learning_rate), but 0.5 was asked"),
        ({"min_learning_rate": 1e-2}, {}, "at least 0.01 learning rate (limits.min_learning_rate), but 0.001 was"),
    ],
)
def test_what_exceeds_a_limit_is_refused_with_its_name(
    experiment: Experiment, limits: dict[str, Any], asked: dict[str, Any], words: str
) -> None:
    found = refusals(task(experiment, **asked), experiment, settings(limits=limits))
    assert words in "; ".join(found)
    assert all(error_outside(one) == one for one in found)


def test_the_fastest_part_of_a_phase_is_measured_against_the_limit(experiment: Experiment) -> None:
    parts = {"ct": {"rate_factor": 200.0}, "heads": {}}
    phase = PhaseConfig.model_validate({"rounds": 1, "trainable": "parts", "parts": parts, "learning_rate": 1e-3})
    training = experiment.training.model_copy(update={"phases": (phase,)})
    found = refusals(task(experiment), experiment.model_copy(update={"training": training}), settings())
    assert found == ["the hospital allows at most 0.1 learning rate (limits.max_learning_rate), but 0.2 was asked"]


def test_what_is_fine_tuned_at_home_is_measured_with_the_factor_of_its_part(experiment: Experiment) -> None:
    parts = {"ct": {"rate_factor": 20.0}}
    phase = PhaseConfig.model_validate({"rounds": 1, "trainable": "parts", "parts": parts, "learning_rate": 1e-3})
    personal = PersonalisationConfig(fine_tune=("last_phase",), learning_rate=1e-2)
    training = experiment.training.model_copy(update={"phases": (phase,)})
    asked = experiment.model_copy(update={"training": training, "personalisation": personal})
    found = refusals(task(experiment), asked, settings())
    assert found == ["the hospital allows at most 0.1 learning rate (limits.max_learning_rate), but 0.2 was asked"]


def test_a_hospital_with_a_budget_takes_part_in_private_runs_only_of_the_mechanism_that_it_allows(
    experiment: Experiment,
) -> None:
    def said(asked: Experiment, **limit: Any) -> str:
        found = refusals(task(asked, learning_rate=100.0), asked, settings(limits={"privacy": limit}))
        assert all(error_outside(one) == one for one in found)
        return "; ".join(found)

    privacy = PatientPrivacy(mechanism="distributed", epsilon=8, delta=1e-4, sampling_rate=1.0, steps=2, patients=100)
    private = experiment.model_copy(update={"privacy": privacy})
    assert "private for its patients only (limits.privacy)" in said(experiment, epsilon=8, delta=1e-4)
    assert "private by themselves (limits.privacy.mechanism)" in said(private, epsilon=8, delta=1e-4)
    assert said(private, epsilon=8, delta=1e-4, mechanism="distributed") == ""  # how far steps go limits nothing more


def test_epochs_and_threads_are_limited(experiment: Experiment) -> None:
    phase = experiment.training.phases[0].model_copy(update={"local_epochs": 21})
    training = experiment.training.model_copy(update={"phases": (phase,), "threads": 10_000})
    greedy = experiment.model_copy(update={"training": training})
    found = "; ".join(refusals(task(greedy), greedy, settings()))
    assert "limits.max_local_epochs" in found
    assert "limits.max_threads" in found
    assert error_outside(found) == found


def test_an_experiment_without_this_hospital_is_refused(experiment: Experiment) -> None:
    elsewhere = settings(name="elsewhere")
    found = refusals(task(experiment, site="elsewhere"), experiment, elsewhere)
    assert found == ["the experiment does not name this hospital"]


def test_folders_and_cache_are_the_sites_own_whatever_the_server_wrote(experiment: Experiment) -> None:
    """A server that names a folder of this hospital's machine must not get it read."""
    site = settings()
    theirs = {"north": settings(xray="/etc", ct="/root").source, "south": None, "st.mary": None}
    data = experiment.data.model_copy(update={"hospitals": theirs, "central": theirs["north"]})
    here = at_this_site(experiment.model_copy(update={"data": data}), site)
    assert here.data.hospitals == {"north": site.source, "south": None, "st.mary": None}
    assert (here.data.central, here.data.cache) == (None, site.cache)


@pytest.mark.parametrize("weights", ["imagenet", "/etc/passwd"])
def test_no_file_that_the_server_names_is_opened(experiment: Experiment, weights: str) -> None:
    model = experiment.model.model_copy(update={"weights": weights})
    with pytest.raises(ValueError, match="a hospital takes its weights with the task only"):
        at_this_site(experiment.model_copy(update={"model": model}), settings())
