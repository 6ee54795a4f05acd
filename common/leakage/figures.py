"""Figures of scores: how many are found at one false one in a hundred, areas, controls, patients, subgroups."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, rankdata

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.leakage.found import (
    Area,
    Attack,
    Group,
    Membership,
    Modality,
    Null,
    Patients,
    Share,
    Turns,
    Units,
)
from fedthorax.common.leakage.membership import Members, Values, all_scores
from fedthorax.common.metrics.resampling import MIN_IMAGES, image_weights, percentile_interval, weighted_ranking

FALSE_ONES = 0.01
_SAMPLES, _DRAWS = 1000, 400
_BINS = (0.5, 0.7, 0.9, 0.95)


def share(hits: int, of: int) -> Share:
    if not of:
        return Share(hits=0, of=0, value=None, interval=None)
    low_high = binomtest(hits, of).proportion_ci(0.95, "exact")
    return Share(hits=hits, of=of, value=hits / of, interval=(float(low_high.low), float(low_high.high)))


def threshold(scores: Values, members: Members) -> float:
    """What at most one in a hundred of those who were not in exceeds; of fewer than a hundred nobody."""
    others = np.sort(scores[~members])[::-1]
    return float(others[int(FALSE_ONES * len(others))]) if len(others) else np.inf


def area(scores: Values, members: Members, seed: int) -> Area:
    """NaN scores are left out."""
    known = ~np.isnan(scores)
    scores, members = scores[known], members[known]
    if members.all() or not members.any():
        return Area(value=None, interval=None)
    names = [str(number) for number in range(len(scores))]
    values = np.concatenate(
        [
            weighted_ranking(weights, np.ones_like(members), members, scores)[:, 0]
            for weights in image_weights(names, len(names), _SAMPLES, seed)
        ]
    )
    low_high = percentile_interval(values, len(names))[0]
    return Area(value=float(values[0]), interval=None if low_high is None else (low_high[0], low_high[1]))


def attack(scores: Values, members: Members, seed: int, above: float | None = None) -> Attack:
    """``above`` is the threshold of a whole that these are a part of."""
    above = threshold(scores, members) if above is None else above
    return Attack(
        area=area(scores, members, seed), found=share(int((scores[members] > above).sum()), int(members.sum()))
    )


def null(scores: Values, members: Members, seed: int) -> Null:
    """The area with membership drawn anew, as many in as were."""
    random, ranks, count = np.random.default_rng(seed), rankdata(scores), int(members.sum())
    drawn = [ranks[random.permutation(len(ranks))[:count]].sum() for _ in range(_DRAWS)]
    return _null((np.array(drawn) - count * (count + 1) / 2) / (count * (len(ranks) - count)))


def _null(values: Values) -> Null:
    low, high = np.percentile(values, (2.5, 97.5))
    return Null(mean=float(values.mean()), interval=(float(low), float(high)))


def groups(scores: Values, members: Members, of: Mapping[str, Members], seed: int) -> tuple[Group, ...]:
    """Those with ten members and ten others, those of whom most are found first, at the threshold of all."""
    above, found = threshold(scores, members), []
    for name, chosen in of.items():
        inside, outside = int((members & chosen).sum()), int((~members & chosen).sum())
        if min(inside, outside) >= MIN_IMAGES:
            told = attack(scores[chosen], members[chosen], seed, above)
            found.append(Group(name=name, members=inside, others=outside, area=told.area, found=told.found))
    return tuple(sorted(found, key=lambda group: (-(group.found.value or 0), -(group.area.value or 0))))


def patients(scores: Values, members: Members) -> Patients:
    """``scores`` and ``members`` (K, P): each reference run attacked by the others."""
    shares = np.array([_right_order(scores[:, one], members[:, one]) for one in range(scores.shape[1])])
    shares = shares[~np.isnan(shares)]
    counts = np.bincount(np.searchsorted(_BINS, shares, side="right"), minlength=5)
    return Patients(
        patients=len(shares),
        median=float(np.median(shares)),
        tenth_highest=float(np.percentile(shares, 90)),
        bins=tuple(counts.tolist()),
        almost_surely=share(int(counts[-1]), len(shares)),
    )


def _right_order(scores: Values, members: Members) -> float:
    inside, outside = scores[members, None], scores[None, ~members]
    return float(((inside > outside) + (inside == outside) / 2).mean()) if inside.size and outside.size else np.nan


def in_turn(margins: Values, members: Members) -> dict[str, NDArray[np.float64]]:
    """By attack (K, P): the scores of each reference run by the others. The run that has the other half of the patients
    stands last, so that those before it come in pairs."""
    found: dict[str, list[Values]] = {}
    runs = list(range(len(margins)))
    for target in runs:
        partner = target ^ 1
        others = [run for run in runs if run not in (target, partner)] + [partner] * (partner in runs)
        for name, scores in all_scores(margins[target], margins[others], members[others]).items():
            found.setdefault(name, []).append(scores)
    return {name: np.stack(scores) for name, scores in found.items()}


def turns(scores: Values, members: Members) -> Turns:
    areas, found = [], []
    for one, inside in zip(scores, members, strict=True):
        rank, count = rankdata(one), int(inside.sum())
        areas.append((rank[inside].sum() - count * (count + 1) / 2) / (count * (len(one) - count)))
        found.append(float((one[inside] > threshold(one, inside)).mean()))
    spread = [(float(np.mean(of)), float(min(of)), float(max(of))) for of in (areas, found)]
    return Turns(runs=len(scores), area=spread[0], found=spread[1])


def membership(
    target: tuple[Values, Members] | None,
    margins: Values,
    members: Members,
    modality: Modality,
    units: Units,
    of_groups: Mapping[str, Members],
    seed: int,
) -> Membership:
    """``target``: margins (P, L) of the run's model and who was in its training (P,); None: the first reference run.
    ``margins`` (K, P, L) and ``members`` (K, P) are the reference runs'."""
    each = in_turn(margins, members)
    if target is None:
        inside, scores = members[0], {name: of[0] for name, of in each.items()}
    else:
        inside, scores = target[1], all_scores(target[0], margins, members)
    best = scores["lira"]
    some = np.flatnonzero(inside)
    half = np.arange(len(some)) < len(some) // 2
    return Membership(
        target="reference" if target is None else "run",
        modality=modality,
        units=units,
        members=int(inside.sum()),
        others=int((~inside).sum()),
        attacks={name: attack(one, inside, derive_seed(seed, name)) for name, one in scores.items()},
        shuffled=null(best, inside, derive_seed(seed, "shuffled")),
        members_against_members=null(best[some], half, derive_seed(seed, "members")),
        groups=groups(best, inside, of_groups, seed),
        in_turn={name: turns(of, members) for name, of in each.items()},
        patients=patients(each["lira"], members),
    )
