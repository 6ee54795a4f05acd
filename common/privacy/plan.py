"""What all hospitals and the server work out alike of a run's private steps."""

from dataclasses import dataclass
from typing import Any

from fedthorax.common.config import Experiment
from fedthorax.common.config.patient_privacy import PatientPrivacy
from fedthorax.common.masking.opening import threshold
from fedthorax.common.privacy.accountant import epsilon, noise_multiplier, version


@dataclass(frozen=True)
class Plan:
    """``noise`` is the multiplier of a whole sum, of which each of ``shared`` hospitals adds a part; ``steps`` are
    those of a round."""

    privacy: PatientPrivacy
    noise: float
    shared: int
    steps: int


def plan_of(experiment: Experiment) -> Plan:
    """ValueError where the experiment asks for no privacy."""
    privacy, federation, hospitals = experiment.privacy, experiment.federation, len(experiment.data.hospitals)
    if privacy is None:
        raise ValueError("the experiment asks for no privacy of patients (privacy)")
    noise = noise_multiplier(privacy.epsilon, privacy.delta, privacy.sampling_rate, privacy.steps)
    shared = 1
    if privacy.mechanism == "distributed":
        fewest = max(threshold(hospitals), federation.smallest_sum, experiment.required_sites)
        shared = max(1, fewest - privacy.colluding)
    return Plan(privacy, noise, shared, privacy.steps // experiment.training.num_rounds)


def told(experiment: Experiment) -> dict[str, Any]:
    """As metrics.json holds it before the first step."""
    plan = plan_of(experiment)
    return {
        **plan.privacy.model_dump(mode="json"),
        "noise": plan.noise,
        "shared": plan.shared,
        "accountant": version(),
        "steps_taken": {},
        "spent": {},
    }


def spent(record: dict[str, Any]) -> dict[str, float]:
    """By hospital the epsilon of the steps that it has taken."""
    rate, noise, delta = record["sampling_rate"], record["noise"], record["delta"]
    return {site: epsilon(((rate, noise, steps),), delta) for site, steps in record["steps_taken"].items() if steps}
