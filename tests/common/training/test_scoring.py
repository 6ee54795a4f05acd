import numpy as np
import pytest

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.pairing import evaluation_pairs
from fedthorax.common.training.scoring import Repeats, during_rounds, in_use, predict, score


def test_every_image_is_scored_once_with_the_partner_that_the_seed_draws(fresh, store, draw_images):
    images = draw_images(3, 7)
    predictions, _ = predict(fresh, store, images, seed=5)
    pairs = evaluation_pairs(3, 7, 5)
    expected = fresh.model.predict(
        {
            "xray": images.xray.images[pairs.xray].astype(np.float32),
            "ct": images.ct.images[pairs.ct].astype(np.float32),
        },
        verbose=0,
    )
    for row in range(7):
        assert predictions.cancer[pairs.ct[row]] == pytest.approx(expected["cancer"][row], abs=1e-5)
        if pairs.counts_xray[row]:
            assert predictions.disease[pairs.xray[row]] == pytest.approx(expected["disease"][row], abs=1e-5)


def test_a_prediction_is_the_mean_over_its_partners(fresh, store, draw_images, monkeypatch):
    random = np.random.default_rng(0)
    fresh.layout.write(
        {name: np.abs(random.normal(0, 0.2, size)).astype(np.float32) for name, size in fresh.layout.sizes.items()}
    )
    monkeypatch.setattr(store, "versions", lambda kind, images, *_: [random_features(kind, images, fresh)])
    images, seeds = draw_images(3, 7), (5, derive_seed(5, "partner", 1), derive_seed(5, "partner", 2))
    alone = [predict(fresh, store, images, seed)[0] for seed in seeds]
    assert not np.allclose(alone[0].disease, alone[1].disease), "partners make no difference: this test shows nothing"
    evaluation = fresh.experiment.evaluation.model_copy(update={"partners": 3})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"evaluation": evaluation}))
    together, _ = predict(fresh, store, images, seed=5)
    assert together.disease == pytest.approx(np.mean([each.disease for each in alone], axis=0), abs=1e-6)
    assert together.cancer == pytest.approx(np.mean([each.cancer for each in alone], axis=0), abs=1e-6)


def test_a_prediction_is_the_mean_over_the_views_of_the_same_pair(fresh, store, draw_images, monkeypatch):
    random = np.random.default_rng(0)
    fresh.layout.write(
        {name: np.abs(random.normal(0, 0.2, size)).astype(np.float32) for name, size in fresh.layout.sizes.items()}
    )

    def features_of(*views):
        return lambda kind, images, *_: [random_features(kind, images, fresh, view) for view in views]

    alone, images = [], draw_images(3, 7)
    for view in range(3):
        monkeypatch.setattr(store, "versions", features_of(view))
        alone.append(predict(fresh, store, images, seed=5, repeats=Repeats(1, 1))[0])
    assert not np.allclose(alone[0].disease, alone[1].disease), "views make no difference: this test shows nothing"
    monkeypatch.setattr(store, "versions", features_of(0, 1, 2))
    together, _ = predict(fresh, store, images, seed=5, repeats=Repeats(1, 3))
    assert together.disease == pytest.approx(np.mean([each.disease for each in alone], axis=0), abs=1e-6)
    assert together.cancer == pytest.approx(np.mean([each.cancer for each in alone], axis=0), abs=1e-6)


def test_tests_are_of_single_pairs_in_all_views_and_rounds_of_images_as_they_are(small_experiment):
    evaluation = small_experiment.evaluation.model_copy(update={"partners": 6, "views": 4})
    experiment = small_experiment.model_copy(update={"evaluation": evaluation})
    assert in_use(experiment) == Repeats(partners=1, views=4)
    assert during_rounds(experiment) == Repeats(partners=6, views=1)


def random_features(kind, images, network, view=0):
    shape = (len(images), network.pooled_width(kind))
    return np.random.default_rng([len(kind), view]).normal(0, 1, shape).astype(np.float32)


def test_losses_are_means_over_images_and_not_over_pairs(fresh, store, draw_images):
    images = draw_images(3, 7)
    predictions, losses = predict(fresh, store, images, seed=5)
    truth = images.xray.targets
    cells = -np.log(np.where(truth == 1, predictions.disease, 1 - predictions.disease))
    rows = -np.log(predictions.cancer[np.arange(7), images.ct.targets])
    assert losses["disease_loss"] == pytest.approx(cells.mean(), rel=1e-4)
    assert losses["cancer_loss"] == pytest.approx(rows.mean(), rel=1e-4)


def test_a_split_without_one_modality_has_no_figure_and_no_zero(fresh, store, draw_images):
    scores = score(fresh, store, draw_images(4, 0), seed=1)
    assert scores["loss"] is None
    assert scores["disease"]["macro"]["roc_auc"] is None
    assert scores["cancer"]["accuracy"] is None
