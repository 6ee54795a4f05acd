"""What the server can take from one hospital's update of the first round: in the clear, and under masks.

Labels: gradients of the last layer's biases count them; an update is many steps of Adam, so the server trains imagined
hospitals on its own images and learns from them how shares of positives move the biases. Features: a dense layer's
kernel moves towards what came in. Alignment: the loss of an image that was trained on falls along the update.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.leakage.figures import area
from fedthorax.common.leakage.found import Area, Seen, Update
from fedthorax.common.leakage.membership import Members, Values, loss_scores
from fedthorax.common.leakage.pool import Pool
from fedthorax.common.leakage.references import Train, kinds_of, margins
from fedthorax.common.masking.masks import mask
from fedthorax.common.masking.words import Domain, Group, Words, wide_places, words_of
from fedthorax.common.model.segments import Weights
from fedthorax.common.training.branch_counts import parts_of
from fedthorax.common.training.network import Network

_IMAGINED = 6  # hospitals that the server makes up
_BIAS = {"xray": "disease_logits/bias", "ct": "cancer_logits/bias"}
_NEAR = 0.01  # of the heads' length: how far along an update a loss is looked at
_FEWEST = 3  # hospitals in a sum

Steps = Mapping[str, NDArray[np.float32]]  # as far as weights have moved: segments


def updates(network: Network, pool: Pool, start: Weights, train: Train, seed: int) -> tuple[Update, ...]:
    """By hospital and kind of image; ``train`` is a first round. Nothing where nobody is outside the training, or a
    hospital has no pair."""
    others = ~pool.trained
    members = {name: pool.trained & np.array([at == name for at in pool.hospitals]) for name in pool.hospitals}
    members = {name: of for name, of in members.items() if of.any()}
    trained = {name: after(network, pool, train, of, derive_seed(seed, name)) for name, of in members.items()}
    if not others.any() or not all(pairs for pairs, _ in trained.values()):
        return ()
    imagined, random = [], np.random.default_rng(derive_seed(seed, "imagined"))
    for number in range(_IMAGINED):
        drawn = others & (random.random(len(pool)) < 0.5)
        _, heads = after(network, pool, train, drawn, derive_seed(seed, number))
        imagined.append((pool.images_of(drawn), {name: values - start[name] for name, values in heads.items()}))
    usual, found = _losses(network, pool, start), list[Update]()
    for (name, how), steps in as_seen(network, start, trained, seed).items():
        falls = _losses(network, pool, _along(start, steps))
        for kind in kinds_of(network):
            inside, whose = pool.has(kind) & (members[name] | others), pool.rows[kind]
            if not (members[name] & inside).any() or not (others & inside).any():
                continue
            told, guess = label_errors(network, kind, pool.images_of(members[name]), steps, imagined)
            nearest, features = nearest_columns(network, pool, kind, steps), Area(value=None, interval=None)
            if nearest is not None:
                of_patients = pool.by_patient(kind, nearest[:, None])[:, 0]
                features = area(of_patients[inside], members[name][inside], seed)
            found.append(
                Update(
                    hospital=name,
                    modality=kind,
                    seen=how,
                    label_error=told,
                    label_guess=guess,
                    cosine=None if nearest is None else float(nearest[members[name][whose]].mean()),
                    cosine_others=None if nearest is None else float(nearest[others[whose]].mean()),
                    features=features,
                    alignment=area((usual[kind] - falls[kind])[inside], members[name][inside], seed),
                )
            )
    network.layout.write(start)
    return tuple(found)


def after(network: Network, pool: Pool, train: Train, members: Members, seed: int) -> tuple[int, Weights]:
    """Pairs, and the heads after a first round."""
    pairs = train(pool, members, seed, lambda: None)
    return pairs, network.layout.read(network.trained_segments("heads"))


def as_seen(
    network: Network, start: Weights, trained: Mapping[str, tuple[int, Weights]], seed: int
) -> dict[tuple[str, Seen], Steps]:
    """By hospital and how, the steps that the server can read; ``trained`` are each hospital's pairs and heads. Words
    are those of a run, under each hospital's own mask."""
    layout, names = network.layout, network.trained_segments("heads")
    wide = {name: wide_places(layout.sizes[name], layout.statistics(name)) for name in names}
    parts = parts_of(layout, names, len(network.experiment.labels.findings))
    domain = Domain(Group(members=(*trained,), behind=()), parts, layout.sizes, wide)
    words = {
        site: words_of(domain, update, start, [pairs] * len(parts), len(trained))
        for site, (pairs, update) in trained.items()
    }
    keys = {site: hashlib.sha256(f"{seed} {site}".encode()).digest() for site in words}
    masked = {site: mask(own, site, keys[site], {}) for site, own in words.items()}
    seen: dict[Seen, Mapping[str, Words]] = {"plain": words, "masked words": masked}
    if len(trained) >= _FEWEST:
        total = np.asarray(np.sum([*words.values()], axis=0, dtype=np.uint64))
        seen["masked sum"] = dict.fromkeys(words, total)
    return {(site, how): _decoded(domain, of[site]) for site in words for how, of in seen.items()}


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
    told, guess = fitted.predict(_bias(network, kind, steps)), np.nan_to_num(shares).mean(axis=0)
    return float(np.abs(told - truth)[known].mean()), float(np.abs(guess - truth)[known].mean())


def nearest_columns(network: Network, pool: Pool, kind: str, steps: Steps) -> Values | None:
    """(N,): the largest cosine of an image's features with a unit of the first dense layer's step, both without what
    all images have in common. None where that layer is not trained (model.projection: fixed)."""
    moved, features = network.layout.by_variable(steps), pool.features[kind][0]
    if f"{kind}_dense/kernel" not in moved:
        return None
    columns = (moved[f"{kind}_dense/kernel"] * np.sign(moved[f"{kind}_dense/bias"])).T
    common = features[~pool.trained[pool.rows[kind]]].mean(axis=0)
    common /= max(float(np.linalg.norm(common)), 1e-12)
    own, of_step = (values - np.outer(values @ common, common) for values in (features, columns))
    lengths = [np.maximum(np.linalg.norm(values, axis=1), 1e-12) for values in (own, of_step)]
    return np.asarray((own @ of_step.T / lengths[0][:, None] / lengths[1]).max(axis=1), np.float64)


def _bias(network: Network, kind: str, steps: Steps) -> Values:
    """The direction in which the biases of the last layer moved."""
    values = network.layout.by_variable(steps)[_BIAS[kind]].astype(np.float64)
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12))


def _shares(network: Network, kind: str, images: SplitImages) -> Values:
    """Of the images of known label those that have it, by label; NaN where none is known."""
    targets = images.of(kind).targets
    if targets.ndim == 1:
        classes = np.arange(len(network.experiment.labels.cancer_classes))
        targets = np.where(targets[:, None] < 0, np.nan, targets[:, None] == classes)
    known, present = (~np.isnan(targets)).sum(axis=0), (targets == 1).sum(axis=0)
    return np.divide(present, known, out=np.full(targets.shape[1], np.nan), where=known > 0)


def _along(start: Weights, steps: Steps) -> dict[str, NDArray[np.float32]]:
    lengths = [np.sqrt(sum(float(np.sum(of[name].astype(np.float64) ** 2)) for name in steps)) for of in (start, steps)]
    scale = _NEAR * lengths[0] / max(lengths[1], 1e-12)
    return {name: start[name] + np.float32(scale) * values for name, values in steps.items()}


def _losses(network: Network, pool: Pool, weights: Weights) -> dict[str, Values]:
    network.layout.write(weights)
    return {kind: -loss_scores(pool.by_patient(kind, told)) for kind, told in margins(network, pool).items()}
