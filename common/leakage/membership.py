"""Was this patient among those that a model was trained on? Three attacks, as arithmetic on answers.

Loss threshold: Yeom et al., "Privacy Risk in Machine Learning", CSF 2018. RMIA: Zarifzadeh et al., "Low-Cost
High-Power Membership Inference Attacks", arXiv 2312.03262, with gamma = 1. LiRA: Carlini et al., "Membership Inference
Attacks From First Principles", IEEE S&P 2022, with one variance a label, which few reference runs can tell.

Margins are log p / (1 - p) of what a patient is labelled with, (P, L), NaN unknown; of K reference runs (K, P, L), with
who was in each (K, P). Every score is (P,): the higher, the more likely was the patient in.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm

Values = NDArray[np.float64]
Members = NDArray[np.bool_]
RMIA_RUNS, LIRA_RUNS = 4, 16
_SMALLEST_SPREAD = 1e-3


def loss_scores(target: Values) -> Values:
    """Minus the loss, a mean over the labels that are known; NaN where none is."""
    known = (~np.isnan(target)).sum(axis=-1)
    total = np.nansum(_losses(target), axis=-1)
    return -np.divide(total, known, out=np.full(total.shape, np.nan), where=known > 0)


def rmia_scores(target: Values, references: Values, members: Members) -> Values:
    """The share of all patients whose probability, against what it is on average over models that did and did not see
    them, rose less than this one's."""
    likelihood = _log_likelihood(references)
    among = [np.where(chosen, likelihood, -np.inf) for chosen in (members, ~members)]
    counts = [members.sum(axis=0), (~members).sum(axis=0)]
    means = [logsumexp(part, axis=0) - np.log(np.maximum(of, 1)) for part, of in zip(among, counts, strict=True)]
    average = logsumexp(means, axis=0) - np.log(np.sum(np.array(counts) > 0, axis=0))  # of nothing: no probability
    rise = _log_likelihood(target) - average
    return np.searchsorted(np.sort(rise), rise, side="right") / len(rise)


def lira_scores(target: Values, references: Values, members: Members) -> Values:
    """The log-likelihood of the margins under those of models that saw the patient, less under those that did not."""
    scores = []
    for chosen in (members, ~members):
        weight = chosen[:, :, None] & ~np.isnan(references)
        count = weight.sum(axis=0)
        values = np.where(weight, references, 0.0)
        mean = values.sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(weight, references - mean, 0.0) ** 2).sum(axis=(0, 1))
        spread = np.sqrt(squares / np.maximum((count - 1).clip(min=0).sum(axis=0), 1))
        told = norm.logpdf(target, mean, np.maximum(spread, _SMALLEST_SPREAD))
        scores.append(np.where(np.isnan(target) | (count == 0), 0.0, told))
    return (scores[0] - scores[1]).sum(axis=-1)


def all_scores(target: Values, references: Values, members: Members) -> dict[str, Values]:
    """By attack. RMIA takes the first of the reference runs, in pairs that share the patients out."""
    attacks: dict[str, Callable[[], Values]] = {
        "loss": lambda: loss_scores(target),
        "rmia": lambda: rmia_scores(target, references[:RMIA_RUNS], members[:RMIA_RUNS]),
        "lira": lambda: lira_scores(target, references[:LIRA_RUNS], members[:LIRA_RUNS]),
    }
    return {name: attack() for name, attack in attacks.items()}


def _log_likelihood(margins: Values) -> Values:
    """Of all known labels together."""
    return -np.nansum(_losses(margins), axis=-1)


def _losses(margins: Values) -> Values:
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return np.logaddexp(0.0, -margins)
