"""Which hospital a member is of, from the model's answers alone, label by label against shuffled hospitals."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedthorax.common.leakage.found import HospitalGuess
from fedthorax.common.leakage.membership import Members, Values
from fedthorax.common.metrics.delong import holm
from fedthorax.common.metrics.resampling import MIN_IMAGES

_DRAWS = 200


def hospital_guesses(
    answers: Values, hospitals: Sequence[str], of_label: Mapping[str, Members], seed: int
) -> tuple[HospitalGuess, ...]:
    """``answers`` (P, L) and ``hospitals`` (P,) of the members, ``of_label`` who has it. A label counts where two
    hospitals have ten with it; patients of others are left out."""
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
        shuffled = np.array([accuracy_of(values, random.permutation(whose)) for _ in range(_DRAWS)])
        p_values[label] = (1 + int((shuffled >= accuracy).sum())) / (1 + _DRAWS)
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
