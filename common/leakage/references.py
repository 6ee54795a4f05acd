"""Heads trained again and again on half of the patients each: what a model answers on patients who are in or out.

Each pair of runs shares the patients out between its two halves, so everybody is in exactly one of the two. A finished
run is a file of its own, and only answers are kept of it: a stopped command goes on where it was.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from fedthorax.common.config import Experiment
from fedthorax.common.ground.atomic_write import PRIVATE, replacing
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.leakage.found import Modality
from fedthorax.common.leakage.pool import Members, Pool, PoolFeatures
from fedthorax.common.model.dual import MODALITIES, pooled_to_logits
from fedthorax.common.model.segments import Weights
from fedthorax.common.privacy.plan import plan_of
from fedthorax.common.training.batches import batches, presence_of, rows_of
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import PrivateSteps, moved_by
from fedthorax.common.training.private_step import Fault, PrivateHeads
from fedthorax.common.training.schedule import plan_round

Margins = Mapping[str, NDArray[np.float64]]
Train = Callable[[Pool, Members, int, Callable[[], None]], int]
"""(pool, who is in, seed, what to call after each round) → pairs; the trained heads stand in the network."""

KINDS: tuple[Modality, ...] = ("xray", "ct")
PARTNERS = 4  # images of the other kind beside each image that is asked about; a stranger's changes the answer a little
_ASKED_AT_ONCE = 256
_HEADS = {"xray": "disease", "ct": "cancer"}


@dataclass(frozen=True)
class Answers:
    """What one model says: who was in (P,), and by modality the margins (N, L) of each image's own labels."""

    members: Members
    margins: Margins


def trainer(network: Network, start: Weights, rounds: Sequence[int], fault: Fault = "none") -> Train:
    """These of the experiment's own rounds of heads, in one pool, from the weights ``start``. ``fault`` is for tests of
    what finds one in private steps."""
    experiment = network.experiment
    if experiment.privacy is not None:
        return _private_trainer(network, start, rounds, fault)

    def train(pool: Pool, members: Members, seed: int, done: Callable[[], None]) -> int:
        store, images, pairs = PoolFeatures(network, pool), pool.images_of(members), 0
        nobody = pool.images_of(np.zeros(len(pool), bool))
        network.layout.write(start)
        for number in rounds:
            plan, seed_here = plan_round(experiment.training, number), derive_seed(seed, "reference", number)
            pairs = fit(network, store, images, nobody, plan.phase, plan.learning_rate, seed_here).pairs
            done()
        return pairs

    return train


def _private_trainer(network: Network, start: Weights, rounds: Sequence[int], fault: Fault) -> Train:
    """All hospitals' private steps as one sum with the least noise that is promised, as long as a hospital's part in
    their mean: a patient moves the model as far as he does in the run, however many others are in."""
    experiment = network.experiment
    plan = replace(plan_of(experiment), shared=1)
    heads = PrivateHeads(network, plan.privacy.clip, fault)

    def train(pool: Pool, members: Members, seed: int, done: Callable[[], None]) -> int:
        network.layout.write(start)
        patients, came = heads.patients(PoolFeatures(network, pool), pool.images_of(members)), {**start}
        for number in rounds:
            rate = plan_round(experiment.training, number).learning_rate / len(experiment.data.hospitals)
            steps = PrivateSteps(heads, plan, str(seed).encode(), ["leakage", number], rate)
            came = {**moved_by(came, steps.take(came, patients))}
            done()
        network.layout.write(came)
        return len(patients.names)

    return train


def kinds_of(network: Network) -> tuple[Modality, ...]:
    return tuple(name for name in KINDS if name in network.modalities)


def head_rounds(experiment: Experiment) -> list[int]:
    """The rounds that train heads only; ValueError where there is none."""
    training = experiment.training
    numbers = range(1, training.num_rounds + 1)
    found = [number for number in numbers if plan_round(training, number).phase.trainable == "heads"]
    if not found:
        raise ValueError("no phase of training.phases trains heads alone; the attacks are made on heads")
    return found


def margins(network: Network, pool: Pool) -> dict[str, NDArray[np.float64]]:
    """By modality log p / (1 - p) of what each image is labelled with: (N, findings), and (N, 1) of its class. NaN
    where the label is unknown. Beside an image stand ``PARTNERS`` of the other kind, the same for all, or its token."""
    heads, found = pooled_to_logits(network.model), {}
    for name in network.modalities:
        (other,) = set(MODALITIES) - {name}
        own, count = pool.features[name][0], len(pool.sets[name])
        beside = [] if network.tokens else list(range(min(PARTNERS, len(pool.sets[other]))))
        logits = np.zeros((count, int(heads.output[_HEADS[name]].shape[-1])))
        for rows in batches(count, _ASKED_AT_ONCE):
            there = np.arange(len(rows))
            given = presence_of(network, *((there, there * 0 - 1) if name == "xray" else (there * 0 - 1, there)))
            for partner in beside or [0]:
                inputs = [
                    own[rows] if kind == name else rows_of(pool.features[kind][0], there * 0 + partner)
                    for kind in network.modalities
                ]
                logits[rows] += heads([*inputs, *given], training=False)[_HEADS[name]].numpy()
        found[name] = _margins_of(logits / max(len(beside), 1), pool.sets[name].targets)
    return found


def _margins_of(logits: NDArray[np.float64], targets: NDArray[np.float32]) -> NDArray[np.float64]:
    if targets.ndim == 2:  # a sigmoid each: 1 present, 0 absent
        return (2 * targets.astype(np.float64) - 1) * logits
    rows = np.arange(len(targets))
    others = logits.copy()
    others[rows, targets] = -np.inf
    margin = logits[rows, targets] - logsumexp(others, axis=1)
    return np.where(targets < 0, np.nan, margin)[:, None]


def memberships(patients: int, runs: int, seed: int) -> NDArray[np.bool_]:
    """(runs, P): who is in; of each two runs a patient is in one."""
    random, found = np.random.default_rng(derive_seed(seed, "memberships")), np.zeros((runs, patients), bool)
    for first in range(0, runs, 2):
        found[first, random.permutation(patients)[: patients // 2]] = True
        found[first + 1 :][:1] = ~found[first]
    return found


def references(
    network: Network,
    pool: Pool,
    train: Train,
    runs: int,
    folder: Path,
    seed: int,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> list[Answers]:
    """The answers of ``runs`` models; those that stand in ``folder`` are read, the others trained. After two rounds
    ``tell`` says how long that will take."""
    chosen = memberships(len(pool), runs, seed)
    key, ends = _key(network.experiment, pool, seed), list[float]()
    files = [folder / f"reference-{number:02d}.npz" for number in range(runs)]
    rounds = len(head_rounds(network.experiment))
    missing = [number for number, file in enumerate(files) if _read(file, key) is None]

    def step() -> None:
        ends.append(time.monotonic())
        if len(ends) == 2:  # the first round traces the network
            minutes = max(1, round((ends[1] - ends[0]) * rounds * len(missing) / 60))
            are = "is" if len(missing) == 1 else "are"
            tell(f"{len(missing)} of {runs} reference runs {are} left, about {minutes} min; a stopped command goes on")
        progress(len(ends), rounds * len(missing))

    for number in missing:
        if not train(pool, chosen[number], derive_seed(seed, number), step):
            raise ValueError("half of the patients give no pair to train on; the attacks need more images")
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(files[number], PRIVATE) as stream:
            told = margins(network, pool)
            np.savez(stream, key=np.array(key), members=chosen[number], **told)  # type: ignore[arg-type]
    return [answers for answers in (_read(file, key) for file in files) if answers is not None]


def _key(experiment: Experiment, pool: Pool, seed: int) -> str:
    """What the answers depend on."""
    settings = experiment.model_dump_json(include={"labels", "model", "training", "data", "privacy", "seed"})
    digest = hashlib.sha256(f"{settings} {seed}".encode())
    for name, images in pool.sets.items():
        digest.update(" ".join(images.digests).encode())
        for version in pool.features.get(name, ()):
            digest.update(np.ascontiguousarray(version).data)
    return digest.hexdigest()


def _read(file: Path, key: str) -> Answers | None:
    """None where there is no such file, or it is of other settings or images."""
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
        if str(content["key"]) != key:
            return None
        return Answers(content["members"], {name: content[name] for name in MODALITIES if name in content.files})
