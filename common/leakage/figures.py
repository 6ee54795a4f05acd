"""Figures of scores: how many are found at one false one in a hundred, areas, controls, patients, subgroups; and which
hospital a member is of."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import binomtest, rankdata

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.leakage.found import Area, Attack, Group, HospitalGuess, Membership, Modality, Patients, Share
from fedthorax.common.leakage.membership import Members, Values, all_scores, lira_scores
from fedthorax.common.leakage.pool import Pool
from fedthorax.common.leakage.references import Answers
from fedthorax.common.metrics.delong import holm
from fedthorax.common.metrics.resampling import MIN_IMAGES, image_weights, percentile_interval, weighted_ranking

FALSE_ONES = 0.01
_SAMPLES, _DRAWS = 1000, 400
_SHUFFLED = 200  # times that hospitals are shuffled
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


def null(scores: Values, members: Members, seed: int) -> Area:
    """The area with membership drawn anew, as many in as were."""
    random, ranks, count = np.random.default_rng(seed), rankdata(scores), int(members.sum())
    drawn = np.array([ranks[random.permutation(len(ranks))[:count]].sum() for _ in range(_DRAWS)])
    values = (drawn - count * (count + 1) / 2) / (count * (len(ranks) - count))
    low, high = np.percentile(values, (2.5, 97.5))
    return Area(value=float(values.mean()), interval=(float(low), float(high)))


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


def others_of(target: int, runs: int) -> list[int]:
    """The reference runs that one of them is attacked with. That with the other half of the patients stands last, so
    that those before it come in pairs."""
    return [run for run in range(runs) if run // 2 != target // 2] + [target ^ 1] * ((target ^ 1) < runs)


def membership(
    pool: Pool,
    kind: Modality,
    of_groups: Mapping[str, Members],
    target: Answers | None,
    runs: Sequence[Answers],
    seed: int,
) -> Membership | None:
    """Of the patients with a known label in images of a ``kind``. ``target``: the run's model; None: the first of the
    reference ``runs``. None where the target trained on all patients, or on none."""
    margins = np.stack([pool.by_patient(kind, answers.margins[kind]) for answers in runs])
    there = np.flatnonzero(~np.isnan(margins[0]).all(axis=1))
    margins, members = margins[:, there], np.stack([answers.members[there] for answers in runs])
    others = [others_of(run, len(runs)) for run in range(len(runs))]
    inside, told, known = members[0], margins[0], others[0]
    if target is not None:
        inside, told = target.members[there], pool.by_patient(kind, target.margins[kind])[there]
        known = list(range(len(runs)))
    if len(there) < 4 or inside.all() or not inside.any():
        return None
    scores = all_scores(told, margins[known], members[known])
    each = [lira_scores(margins[run], margins[of], members[of]) for run, of in enumerate(others)]
    best, some = scores["lira"], np.flatnonzero(inside)
    return Membership(
        target="reference" if target is None else "run",
        modality=kind,
        units=pool.units(kind),
        members=len(some),
        others=len(there) - len(some),
        attacks={name: attack(one, inside, derive_seed(seed, name)) for name, one in scores.items()},
        shuffled=null(best, inside, derive_seed(seed, "shuffled")),
        members_against_members=null(best[some], np.arange(len(some)) < len(some) // 2, derive_seed(seed, "members")),
        groups=groups(best, inside, {name: of[there] for name, of in of_groups.items()}, seed),
        patients=patients(np.stack(each), members),
    )


def hospital_guesses(
    answers: Values, hospitals: Sequence[str], of_label: Mapping[str, Members], seed: int
) -> tuple[HospitalGuess, ...]:
    """From the model's answers alone, label by label against shuffled hospitals. ``answers`` (P, L) and ``hospitals``
    (P,) of the members, ``of_label`` who has it. A label counts where two hospitals have ten with it; patients of
    others are left out."""
    found, p_values = [], {}
    for label, chosen in of_label.items():
        names, place = np.unique(np.asarray(hospitals)[chosen], return_inverse=True)
        kept = np.flatnonzero(np.bincount(place, minlength=len(names)) >= MIN_IMAGES)
        if len(kept) < 2:
            continue
        rows = np.isin(place, kept)
        values, whose = np.nan_to_num(answers[chosen][rows]), np.searchsorted(kept, place[rows])
        values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
        random = np.random.default_rng(seed)
        accuracy = accuracy_of(values, whose)
        shuffled = np.array([accuracy_of(values, random.permutation(whose)) for _ in range(_SHUFFLED)])
        p_values[label] = (1 + int((shuffled >= accuracy).sum())) / (1 + _SHUFFLED)
        low, high = np.percentile(shuffled, (2.5, 97.5))
        found.append((label, int(rows.sum()), accuracy, (float(low), float(high))))
    corrected = holm(p_values)
    return tuple(
        HospitalGuess(label=label, patients=count, accuracy=accuracy, shuffled=usual, p=corrected[label])
        for label, count, accuracy, usual in found
    )


def accuracy_of(values: Values, whose: np.ndarray) -> float:
    """Of the nearest hospital's mean, each patient left out of his own; a mean over hospitals."""
    count = np.bincount(whose)
    sums = np.stack([values[whose == place].sum(axis=0) for place in range(len(count))])
    distance = ((values[:, None] - (sums / count[:, None])[None]) ** 2).sum(axis=2)
    rows = np.arange(len(values))
    without = (sums[whose] - values) / np.maximum(count[whose] - 1, 1)[:, None]
    distance[rows, whose] = ((values - without) ** 2).sum(axis=1)
    right = distance.argmin(axis=1) == whose
    return float(np.mean([right[whose == place].mean() for place in range(len(count))]))
