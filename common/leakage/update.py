"""What the server can take from one hospital's update of the first round: in the clear, and under masks.

Labels: gradients of the last layer's biases count them; an update is many steps of Adam, so the server trains imagined
hospitals on its own images and learns from them how shares of positives move the biases. Features: a dense layer's
kernel moves towards what came in. Alignment: the loss of an image that was trained on falls along the update.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.leakage.figures import area
from fedthorax.common.leakage.found import Seen, Update
from fedthorax.common.leakage.membership import Members, Values, loss_scores
from fedthorax.common.leakage.pool import Pool, PoolFeatures
from fedthorax.common.leakage.references import head_rounds, kinds_of, margins
from fedthorax.common.masking.hospital import Masking
from fedthorax.common.masking.opening import Opening, domains_of
from fedthorax.common.masking.words import Domain, Words, words_of
from fedthorax.common.model.segments import Weights
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import plan_round

_IMAGINED = 6  # hospitals that the server makes up
_BIAS = {"xray": "disease_logits/bias", "ct": "cancer_logits/bias"}
_NEAR = 0.01  # of the heads' length: how far along an update a loss is looked at
_FEWEST = 3  # hospitals of a masked round; one that is alone here masks with made-up ones, and there is no sum
_COUNTS = ("xray", "ct", "fusion", "xray_token", "ct_token", "cancer")

Steps = Mapping[str, NDArray[np.float32]]  # as far as weights have moved: segments


def updates(network: Network, pool: Pool, start: Weights, seed: int) -> tuple[Update, ...]:
    """By hospital and kind of image. Nothing where nobody is outside the training, or a hospital has no pair."""
    others = ~pool.trained
    members = {name: pool.trained & np.array([at == name for at in pool.hospitals]) for name in pool.hospitals}
    members = {name: of for name, of in members.items() if of.any()}
    images = {name: pool.images_of(of) for name, of in members.items()}
    trained = {name: _trained(network, pool, start, of, derive_seed(seed, name)) for name, of in images.items()}
    if not others.any() or not all(pairs for pairs, _ in trained.values()):
        return ()
    imagined = []
    for number, like in zip(range(_IMAGINED), [*images.values()] * _IMAGINED, strict=False):
        drawn = _drawn(pool, others, like, derive_seed(seed, "imagined", number))
        _, update = _trained(network, pool, start, drawn, derive_seed(seed, number))
        imagined.append((drawn, {name: values - start[name] for name, values in update.items()}))
    usual, found = _losses(network, pool, start), list[Update]()
    for (name, how), steps in as_seen(network, start, trained).items():
        falls = _losses(network, pool, _along(start, steps))
        for kind in kinds_of(network):
            inside = pool.has(kind) & (members[name] | others)
            if (members[name] & inside).any() and (others & inside).any():
                told, guess = label_errors(network, kind, images[name], steps, imagined)
                nearest = nearest_columns(network, pool, kind, steps)
                mine = members[name][pool.rows[kind]]
                of_patients = pool.by_patient(kind, nearest[:, None])[:, 0]
                found.append(
                    Update(
                        hospital=name,
                        modality=kind,
                        seen=how,
                        label_error=told,
                        label_guess=guess,
                        cosine=float(nearest[mine].mean()),
                        cosine_others=float(nearest[others[pool.rows[kind]]].mean()),
                        features=area(of_patients[inside], members[name][inside], seed),
                        alignment=area((usual[kind] - falls[kind])[inside], members[name][inside], seed),
                    )
                )
    network.layout.write(start)
    return tuple(found)


def as_seen(
    network: Network, start: Weights, trained: Mapping[str, tuple[int, Weights]]
) -> dict[tuple[str, Seen], Steps]:
    """By hospital and how, the steps that the server can read; ``trained`` are each hospital's pairs and heads. Words
    and masks are those of a run."""
    layout, names = network.layout, network.trained_segments("heads")
    findings = network.experiment.labels.findings
    sites = [*trained, *(f"made up {number}" for number in range(_FEWEST - len(trained)))]
    with tempfile.TemporaryDirectory() as folder:
        halves = {
            site: Masking(Path(folder) / str(place), None, None, "run", site, "0" * 64, len(sites), 2, 1)
            for place, site in enumerate(sites)
        }
        keys = {site: half.run_key((*_COUNTS, *findings)) for site, half in halves.items()}
        opening = Opening(nonce="00", model={}, keys=keys)
        statistics = {name: layout.statistics(name) for name in names}
        parts = parts_of(layout, names, len(findings))
        (domain,) = domains_of(opening, parts, layout.sizes, statistics, findings, False, 2)
        words = {
            site: words_of(domain, update, start, [pairs] * len(domain.parts), len(sites))
            for site, (pairs, update) in trained.items()
        }
        groups = [domain.group]
        masked = {
            site: halves[site].masked(1, opening, 0, 0.0, groups, {0: own}).words[0] for site, own in words.items()
        }
    found: dict[tuple[str, Seen], Steps] = {}
    total = np.asarray(np.sum([*words.values()], axis=0, dtype=np.uint64))
    for site, own in words.items():
        found[site, "plain"] = _decoded(domain, own)
        found[site, "masked words"] = _decoded(domain, masked[site])
        if len(trained) >= _FEWEST:
            found[site, "masked sum"] = _decoded(domain, total)
    return found


def _decoded(domain: Domain, words: Words) -> Steps:
    """Words as steps, up to the weight, which no attack needs; moving statistics as unmoved."""
    found = {part.segment: np.zeros(domain.sizes[part.segment], np.float32) for part in domain.parts}
    start = 0
    for part in domain.parts:
        values, wide = found[part.segment][part.where], domain.wide_of(part)
        values[:] = words[start : start + len(values)].view(np.int64) / 2.0**40
        values[wide] = 0
        start += len(values) + len(wide)
    return found


def label_errors(
    network: Network, kind: str, images: SplitImages, steps: Steps, imagined: Sequence[tuple[SplitImages, Steps]]
) -> tuple[float | None, float | None]:
    """Mean errors of the shares of positives that the biases tell, and that the server's own images do."""
    truth, shares = _shares(network, kind, images), np.stack([_shares(network, kind, of) for of, _ in imagined])
    moved = np.stack([_bias(network, kind, of) for _, of in imagined])
    known, usable = ~np.isnan(truth), ~np.isnan(shares)
    if not known.any() or not usable.any():
        return None, None
    fitted = IsotonicRegression(out_of_bounds="clip").fit(moved[usable], shares[usable])
    told = fitted.predict(_bias(network, kind, steps))
    guess = np.nan_to_num(shares).mean(axis=0)
    return float(np.abs(told - truth)[known].mean()), float(np.abs(guess - truth)[known].mean())


def nearest_columns(network: Network, pool: Pool, kind: str, steps: Steps) -> Values:
    """(N,): the largest cosine of an image's features with a unit of the first dense layer's step, both without what
    all images have in common."""
    moved, features = network.layout.by_variable(steps), pool.features[kind][0]
    columns = (moved[f"{kind}_dense/kernel"] * np.sign(moved[f"{kind}_dense/bias"])).T
    common = features[~pool.trained[pool.rows[kind]]].mean(axis=0)
    common /= max(float(np.linalg.norm(common)), 1e-12)
    own, of_step = (values - np.outer(values @ common, common) for values in (features, columns))
    lengths = [np.maximum(np.linalg.norm(values, axis=1), 1e-12) for values in (own, of_step)]
    return np.asarray((own @ of_step.T / lengths[0][:, None] / lengths[1]).max(axis=1), np.float64)


def _trained(network: Network, pool: Pool, start: Weights, images: SplitImages, seed: int) -> tuple[int, Weights]:
    """Pairs, and the heads after the first round."""
    network.layout.write(start)
    plan = plan_round(network.experiment.training, head_rounds(network.experiment)[0])
    nobody = pool.images_of(np.zeros(len(pool), bool))
    report = fit(network, PoolFeatures(network, pool), images, nobody, plan.phase, plan.learning_rate, seed)
    return report.pairs, network.layout.read(network.trained_segments("heads"))


def _drawn(pool: Pool, of: Members, like: SplitImages, seed: int) -> SplitImages:
    """As many images as ``like`` has, drawn from those of the patients ``of``, some several times."""
    random, rows = np.random.default_rng(seed), {}
    for name, whose in pool.rows.items():
        there = np.flatnonzero(of[whose])
        rows[name] = random.choice(there, len(like.of(name))) if len(there) else there
    return pool.chosen(rows)


def _bias(network: Network, kind: str, steps: Steps) -> Values:
    """The direction in which the biases of the last layer moved."""
    values = network.layout.by_variable(steps)[_BIAS[kind]].astype(np.float64)
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12))


def _shares(network: Network, kind: str, images: SplitImages) -> Values:
    """Of the images of known label those that have it, by label; NaN where none is known."""
    targets = images.of(kind).targets
    if targets.ndim == 1:
        targets = np.where(
            targets[:, None] < 0, np.nan, targets[:, None] == np.arange(len(network.experiment.labels.cancer_classes))
        )
    known, present = (~np.isnan(targets)).sum(axis=0), (targets == 1).sum(axis=0)
    return np.divide(present, known, out=np.full(targets.shape[1], np.nan), where=known > 0)


def _along(start: Weights, steps: Steps) -> dict[str, NDArray[np.float32]]:
    lengths = [np.sqrt(sum(float(np.sum(of[name].astype(np.float64) ** 2)) for name in steps)) for of in (start, steps)]
    scale = _NEAR * lengths[0] / max(lengths[1], 1e-12)
    return {name: start[name] + np.float32(scale) * values for name, values in steps.items()}


def _losses(network: Network, pool: Pool, weights: Weights) -> dict[str, Values]:
    network.layout.write(weights)
    return {kind: -loss_scores(pool.by_patient(kind, told)) for kind, told in margins(network, pool).items()}
