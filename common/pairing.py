"""Which X-ray meets which CT slice.

The two images of a pair come from different patients, except where ``patient_first`` finds a patient's own two: the
pairs teach a network with two inputs, they are not observations of one person.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pairing = Literal["random", "patient_first"]
EpochLength = Literal["longest", "shortest", "xray", "ct"]

Indices = NDArray[np.int64]
ABSENT = -1


@dataclass(frozen=True)
class Pairs:
    """P pairs as row indices into the X-rays and the CT slices of one split; ABSENT: this side is not there."""

    xray: Indices
    ct: Indices

    def __len__(self) -> int:
        return len(self.xray)


@dataclass(frozen=True)
class EvaluationPairs(Pairs):
    """Pairs of which only the marked side is scored: each image is marked in exactly one pair."""

    counts_xray: NDArray[np.bool_]
    counts_ct: NDArray[np.bool_]


@dataclass(frozen=True)
class Uses:
    """How often an image stands in the pairs; all None if there are no images."""

    min: int | None
    mean: float | None
    max: int | None


@dataclass(frozen=True)
class PairingReport:
    """``same_patient_pairs`` is None if the patients were not given."""

    pairs: int
    xray_uses: Uses
    ct_uses: Uses
    same_patient_pairs: int | None


def training_pairs(
    xray_patients: Sequence[str],
    ct_patients: Sequence[str],
    pairing: Pairing,
    epoch_length: EpochLength,
    seed: int,
) -> Pairs:
    """The pairs of one epoch; call it with a new seed for each.

    The epoch has as many pairs as ``epoch_length`` says. The side with fewer images is reshuffled and reused: every
    image is used floor(P / n) or ceil(P / n) times, and none again before all others were. Of a side with more images
    than pairs a random part is used, another in the next epoch. Without images on one side there are no pairs.

    ``patient_first`` joins a patient's X-rays and CT slices one to one, at random if there are several, and whatever
    remains at random. The images are then still used equally often, but the order within the epoch is shuffled.
    """
    num_xray, num_ct = len(xray_patients), len(ct_patients)
    length = _epoch_length(num_xray, num_ct, epoch_length)
    xray_random, ct_random, join_random = _streams(seed)
    if pairing == "random":
        return Pairs(_evenly(num_xray, length, xray_random), _evenly(num_ct, length, ct_random))
    xray = _partners_first(xray_patients, ct_patients, length, xray_random)
    ct = _partners_first(ct_patients, xray_patients, length, ct_random)
    return _join_patients(xray, ct, xray_patients, ct_patients, join_random)


def images_by_patient(patients: Sequence[str], seed: int) -> list[list[int]]:
    """The rows of each patient's images in random order: a long series counts no more than a single radiograph."""
    held: dict[str, list[int]] = {}
    for row in np.random.default_rng(seed).permutation(len(patients))[::-1].tolist():
        held.setdefault(patients[row], []).append(row)
    return sorted(held.values())


def in_turn(images: Sequence[Sequence[int]], chosen: Indices) -> Indices:
    """For each patient in ``chosen``, ABSENT or a place in ``images``, a row of ``images[place]``: another one each
    time, none again before all others of the patient were."""
    turns = [cycle(rows) for rows in images]
    return np.array([ABSENT if place == ABSENT else next(turns[place]) for place in chosen.tolist()], np.int64)


def evaluation_pairs(num_xray: int, num_ct: int, seed: int) -> EvaluationPairs:
    """max(num_xray, num_ct) pairs in which each image is scored exactly once, or none if one side has no images."""
    length = _epoch_length(num_xray, num_ct, "longest")
    xray_random, ct_random, _ = _streams(seed)
    xray, ct = _evenly(num_xray, length, xray_random), _evenly(num_ct, length, ct_random)
    # The first num images of a side are its first shuffle, in which each stands once.
    row = np.arange(length)
    return EvaluationPairs(xray, ct, counts_xray=row < num_xray, counts_ct=row < num_ct)


def one_sided_pairs(num_xray: int, num_ct: int, seed: int) -> EvaluationPairs:
    """Each image of the only side that has any, in random order, without a partner; none if both have or neither."""
    if num_xray and num_ct:
        return evaluation_pairs(0, 0, seed)
    xray_random, ct_random, _ = _streams(seed)
    length = num_xray or num_ct
    nothing, scored = np.full(length, ABSENT, np.int64), np.ones(length, bool)
    if num_xray:
        return EvaluationPairs(xray_random.permutation(num_xray), nothing, scored, ~scored)
    return EvaluationPairs(nothing, ct_random.permutation(num_ct), ~scored, scored)


def drop_sides(pairs: Pairs, rate: float, seed: int) -> Pairs:
    """``pairs`` of which a share ``rate`` at random has lost one side, either with the same chance."""
    random = np.random.default_rng(seed)
    dropped, takes_xray = random.random(len(pairs)) < rate, random.random(len(pairs)) < 0.5
    return Pairs(np.where(dropped & takes_xray, ABSENT, pairs.xray), np.where(dropped & ~takes_xray, ABSENT, pairs.ct))


def reuse(
    pairs: Pairs,
    num_xray: int,
    num_ct: int,
    xray_patients: Sequence[str] | None = None,
    ct_patients: Sequence[str] | None = None,
) -> PairingReport:
    """How often the images were used, and, where the patients are given, how many pairs are of one person."""
    same: int | None = None
    if xray_patients is not None and ct_patients is not None:
        paired = [(x, c) for x, c in zip(pairs.xray, pairs.ct, strict=True) if ABSENT not in (x, c)]
        same = sum(xray_patients[x] == ct_patients[c] for x, c in paired)
    return PairingReport(len(pairs), _uses(pairs.xray, num_xray), _uses(pairs.ct, num_ct), same)


def _uses(indices: Indices, num_images: int) -> Uses:
    if num_images == 0:
        return Uses(None, None, None)
    counts = np.bincount(indices[indices != ABSENT], minlength=num_images)
    return Uses(int(counts.min()), float(counts.mean()), int(counts.max()))


def _epoch_length(num_xray: int, num_ct: int, epoch_length: EpochLength) -> int:
    if num_xray == 0 or num_ct == 0:
        return 0
    lengths = {"longest": max(num_xray, num_ct), "shortest": min(num_xray, num_ct), "xray": num_xray, "ct": num_ct}
    return lengths[epoch_length]


def _streams(seed: int) -> list[np.random.Generator]:
    """One stream a side and one to join them, so that the order of one side tells nothing about the other's."""
    return [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]


def _evenly(num_images: int, length: int, random: np.random.Generator) -> Indices:
    """``length`` indices: one shuffle of all images after the other, the last one cut."""
    shuffles = -(-length // num_images) if num_images else 0
    rows = [random.permutation(num_images) for _ in range(shuffles)]
    return np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int64)[:length]


def _partners_first(
    patients: Sequence[str], other_patients: Sequence[str], length: int, random: np.random.Generator
) -> Indices:
    """Like ``_evenly``, but if not all images are used, those come first whose patient has images on the other side."""
    rows = _evenly(len(patients), max(length, len(patients)) if length else 0, random)
    if length >= len(patients):
        return rows
    places: dict[str, int] = defaultdict(int)
    for patient in other_patients:
        places[patient] += 1
    wanted, others = [], []
    for row in rows.tolist():
        if places[patients[row]] > 0:
            places[patients[row]] -= 1
            wanted.append(row)
        else:
            others.append(row)
    return np.array((wanted + others)[:length], np.int64)


def _join_patients(
    xray: Indices,
    ct: Indices,
    xray_patients: Sequence[str],
    ct_patients: Sequence[str],
    random: np.random.Generator,
) -> Pairs:
    xray, ct = random.permutation(xray), random.permutation(ct)
    waiting: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(ct):
        waiting[ct_patients[row]].append(place)
    partner = np.full(len(xray), -1, np.int64)
    for place, row in enumerate(xray):
        if waiting[xray_patients[row]]:
            partner[place] = waiting[xray_patients[row]].pop()
    # The places are those of shuffled slices, so handing them out in order is random.
    partner[partner < 0] = np.setdiff1d(np.arange(len(ct)), partner)
    return Pairs(xray, ct[partner])
