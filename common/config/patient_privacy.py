"""Differential privacy of patients: what a run promises, and what it cannot be combined with."""

from typing import Any, Literal

from pydantic import Field

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.ground.frozen import Frozen

Mechanism = Literal["local", "distributed"]


class PatientPrivacy(Frozen):
    """Whether one patient is among those of a hospital can hardly be told from the model: docs/privacy.md."""

    mechanism: Mechanism = Field(
        description="local: every hospital's steps are private by themselves; distributed: the sum of all hospitals' "
        "is, under masks (federation.secure_aggregation), with one step a round and less noise."
    )
    epsilon: float = Field(gt=0, le=100, description="What the whole run may spend of each patient's privacy.")
    delta: float = Field(gt=0, lt=0.01, description="Chance that the promise does not hold; below 1 / patients.")
    clip: float = Field(default=1.0, gt=0, description="Largest norm of one patient's gradient; longer ones are cut.")
    sampling_rate: float = Field(
        gt=0, le=1, description="Chance with which each patient is in a step, drawn in secret at the hospital."
    )
    steps: int = Field(ge=1, le=100_000, description="Steps of the whole run, as many in each round.")
    images_per_patient: int = Field(default=4, ge=1, le=16, description="Most images of a patient in one step.")
    patients: int = Field(
        ge=1,
        description="What the sum of a step is divided by at each hospital, times sampling_rate: about as many as a "
        "hospital trains on; a public number, so that no hospital's count is told.",
    )
    colluding: int = Field(
        default=1,
        ge=0,
        description="distributed: hospitals whose own noise does not count, because they could tell it to the server "
        "or look for a patient themselves.",
    )


def refusal(experiment: Any) -> str | None:  # an Experiment, whose module needs this one
    """Why the experiment cannot keep what ``privacy`` promises; None where it can."""
    privacy, model, training = experiment.privacy, experiment.model, experiment.training
    if privacy is None:
        return None
    federation, rounds = experiment.federation, training.num_rounds
    learned = model.projection == "learned"
    refused: tuple[tuple[bool, str], ...] = (
        (
            model.absent != "token",
            f"model.absent is {model.absent}, so that a loss would mix strangers; set it to token",
        ),
        (
            any(phase.trainable != "heads" for phase in training.phases),
            "a phase trains the encoders; private steps are of the heads: set training.phases[].trainable to heads",
        ),
        (
            any(phase.local_epochs != 1 for phase in training.phases),
            "a phase has several local_epochs; privacy.steps says how many steps there are: set them to 1",
        ),
        (
            learned and model.head_norm == "batch",
            "model.head_norm is batch, which mixes patients; set it to layer or none",
        ),
        (
            learned and model.dropout > 0,
            f"model.dropout is {model.dropout:g}; a private step has none: set it to 0",
        ),
        (
            training.loss.cancer != "plain",
            f"training.loss.cancer is {training.loss.cancer}, which a private step does not have; set it to plain",
        ),
        (
            training.loss.disease != "plain",
            f"training.loss.disease is {training.loss.disease}, which a private step does not have; set it to plain",
        ),
        (training.local_patience is not None, "training.local_patience looks at the hospital's images; set it to null"),
        (training.modality_dropout > 0, "training.modality_dropout is not 0; a private step takes a patient's own"),
        (training.weight_decay > 0, "training.weight_decay is not 0; a private step has none"),
        (training.warmup_steps > 0, "training.warmup_steps is not 0; a private step is as long as it was told"),
        (bool(experiment.personalisation.fine_tune), "personalisation.fine_tune trains without noise; leave it out"),
        (
            not algorithm_of(federation.strategy).hospital.plain,
            f"federation.strategy is {federation.strategy}, which changes the hospitals' steps; choose another one",
        ),
        (federation.weigh_by == "branches", "federation.weigh_by is branches, by counts of patients; set it to null"),
        (
            federation.unusual_updates != "off",
            "federation.unusual_updates judges steps of Adam, and private ones are mostly noise; set it to off",
        ),
        (
            privacy.steps % rounds != 0,
            f"privacy.steps {privacy.steps} cannot be shared out among {rounds} rounds; make them a multiple",
        ),
        (
            privacy.delta * privacy.patients >= 1,
            f"privacy.delta {privacy.delta:g} is not below 1 / patients ({1 / privacy.patients:.2g})",
        ),
        (
            privacy.mechanism == "distributed" and not federation.secure_aggregation,
            "the mechanism distributed needs masks; set federation.secure_aggregation to true, or choose local",
        ),
        (
            privacy.mechanism == "distributed" and privacy.steps != rounds,
            f"the mechanism distributed has one step a round; make privacy.steps the {rounds} rounds, or choose local",
        ),
        (
            privacy.mechanism == "distributed" and privacy.colluding >= len(experiment.data.hospitals),
            f"privacy.colluding is {privacy.colluding} of {len(experiment.data.hospitals)} hospitals",
        ),
    )
    return next((f"privacy is asked for, but {words}" for holds, words in refused if holds), None)
