"""Private steps of one hospital in one task: who is in them, noise, and how far they move the model."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.algorithms.aggregation import FRACTION_BITS, RESOLUTION, whole_numbers
from fedthorax.common.algorithms.algorithm import Segments
from fedthorax.common.config import Experiment
from fedthorax.common.model.segments import Weights, weights_digest
from fedthorax.common.privacy.noise import chosen, key_of, rounded_gaussian
from fedthorax.common.privacy.plan import Plan, plan_of
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_step import Patients, PrivateHeads
from fedthorax.common.training.schedule import plan_round

Moved = Mapping[str, NDArray[np.int64]]  # by segment, multiples of RESOLUTION
_UNITS = (1 << 10, 1 << 32)  # multiples of RESOLUTION in a step of the grid: finer is inexact, coarser overflows


@dataclass
class PrivateSteps:
    """``secret`` is the hospital's alone, ``context`` names run, site, round and experiment."""

    heads: PrivateHeads
    plan: Plan
    secret: bytes
    context: Sequence[object]
    learning_rate: float
    mark: str = field(default="", init=False)  # of all that determined the steps' values

    def take(self, came: Weights, patients: Patients) -> Moved:
        """How far the steps of a round move the model that ``came``. Nothing has left by then, and nothing is spent:
        whoever lets the result leave has to charge ``mark`` first."""
        heads, privacy, unit = self.heads, self.plan.privacy, self.unit
        moved = {segment: np.zeros(values.size, np.int64) for segment, values in came.items()}
        start = {segment: whole_numbers(values) for segment, values in came.items()}
        held, marks, model = _fingerprint(patients), hashlib.sha256(), weights_digest(came)
        deviation = self.plan.noise * heads.most / heads.grid / math.sqrt(self.plan.shared)
        for number in range(self.plan.steps):
            context = [*self.context, model, number]
            flat = {name: (start[name] + moved[name]) * RESOLUTION for name in start}
            weights = [flat[name][slot.start : slot.stop].reshape(slot.shape) for name, slot in heads.places]
            inside = chosen(key_of(self.secret, "who", context, held), len(patients.names), privacy.sampling_rate)
            random = np.random.default_rng(int.from_bytes(key_of(self.secret, "images", context, held)))
            batch = heads.drawn(patients, np.flatnonzero(inside).tolist(), privacy.images_per_patient, random)
            total = np.rint(heads.clipped_sum(weights, patients, batch) / heads.grid).astype(np.int64)
            key = key_of(self.secret, "noise", context, total.tobytes())
            marks.update(hashlib.sha256(key).digest())
            if heads.fault != "no noise":
                total += rounded_gaussian(key, deviation, heads.size)
            begin = 0
            for name, slot in heads.places:
                count = slot.stop - slot.start
                moved[name][slot.start : slot.stop] -= total[begin : begin + count] * unit
                begin += count
        self.mark = marks.hexdigest()
        return moved

    @property
    def unit(self) -> int:
        """How far a step of the grid moves a value, in multiples of RESOLUTION: whole, so that sums stay exact."""
        privacy = self.plan.privacy
        step = self.learning_rate * self.heads.grid / (privacy.sampling_rate * privacy.patients)
        unit = round(step * 2**FRACTION_BITS)
        if not _UNITS[0] <= unit <= _UNITS[1]:
            low, high = (self.learning_rate / (step * 2**FRACTION_BITS) * most for most in _UNITS)
            raise ValueError(
                f"private steps at learning rate {self.learning_rate:g} are too short or long to be exact; from "
                f"{low:.3g} to {high:.3g} they are"
            )
        return unit


def require_exact(experiment: Experiment, network: Network) -> None:
    """ValueError where a round would have steps too short or long: those of the rounds before it would be in vain."""
    plan, training = plan_of(experiment), experiment.training
    heads = PrivateHeads(network, plan.privacy.clip)
    for number in range(1, training.num_rounds + 1):
        most = (number - 1) // (training.schedule.plateau_patience or number)
        for reductions in (0, most):
            rate = plan_round(training, number, reductions).learning_rate
            try:
                _ = PrivateSteps(heads, plan, b"", (), rate).unit
            except ValueError as error:
                raise ValueError(f"round {number}: {error} (training.learning_rate, training.schedule)") from None


def moved_by(came: Weights, moved: Moved) -> Segments:
    """The model after the steps."""
    return {
        segment: np.where(
            moved[segment], ((whole_numbers(values) + moved[segment]) * RESOLUTION).astype(np.float32), values
        )
        for segment, values in came.items()
    }


def simulated_secret(experiment: Experiment, site: str) -> bytes:
    """Made of the seed, which whoever runs the simulation knows: such noise protects nobody."""
    return hashlib.sha256(f"FedThorax simulation {experiment.seed} {site}".encode()).digest()


def simulated(site: str, number: int) -> list[object]:
    """The context of a round in a simulation: without the run's name, so that it can be made again."""
    return ["simulation", site, number]


def _fingerprint(patients: Patients) -> bytes:
    """Of all that the sums are made of: other data have other draws."""
    digest = hashlib.sha256(repr((patients.names, sorted(patients.rows.items()))).encode())
    for values in (*(patients.values[side] for side in sorted(patients.values)), patients.disease, patients.cancer):
        digest.update(np.ascontiguousarray(values).data)
    return digest.digest()
