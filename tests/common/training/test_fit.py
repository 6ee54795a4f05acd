from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.training import fit as fit_module
from fedthorax.common.training.fit import LocalStopper, fit

HEADS = PhaseConfig(rounds=1, trainable="heads", local_epochs=2)


def test_a_fit_reports_what_it_did(fresh, store, draw_images):
    report = fit(fresh, store, draw_images(6, 9), draw_images(0, 0), HEADS, 1e-3, seed=1)
    assert (report.pairs, report.steps, report.epochs) == (9, 6, 2)
    assert report.loss == pytest.approx(report.disease_loss + report.cancer_loss)


def test_a_fit_tells_the_loss_which_labels_there_are(fresh, store, draw_images, monkeypatch):
    told, images = list[tuple[np.ndarray, np.ndarray]](), draw_images(6, 9)
    monkeypatch.setattr(fresh, "know_labels", lambda *labels, at_home: told.append(labels))
    fit(fresh, store, images, draw_images(0, 0), HEADS, 1e-3, seed=1)
    ((findings, classes),) = told
    assert np.array_equal(findings, images.xray.targets, equal_nan=True)
    assert np.array_equal(classes, images.ct.targets)


@pytest.mark.parametrize("part", ["disease", "cancer"])
def test_a_head_without_a_label_is_not_trained(fresh, store, draw_images, monkeypatch, part):
    """Its update would change nothing, and be refused for the steps that it claims."""
    both = PhaseConfig(rounds=1, trainable="parts", parts={"disease": {}, "cancer": {}})
    alone, images = PhaseConfig(rounds=1, trainable="parts", parts={part: {}}), draw_images(6, 9)
    labels = images.ct.targets if part == "cancer" else images.xray.targets
    labels[:] = -1 if part == "cancer" else np.nan
    report = fit(fresh, store, images, draw_images(0, 0), alone, 1e-2, seed=1)
    assert (report.pairs, report.steps, report.loss) == (0, 0, None)
    assert fit(fresh, store, images, draw_images(0, 0), both, 1e-2, seed=1).pairs == 9
    federation = fresh.experiment.federation.model_copy(update={"secure_aggregation": True})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"federation": federation}))
    masked = fit(fresh, store, images, draw_images(0, 0), alone, 1e-2, seed=1)
    assert masked.pairs == 9, "under masks it contributes what it said it would, though that is nothing"


@pytest.mark.parametrize("part", ["xray", "ct"])
def test_without_a_fusion_an_encoder_learns_from_the_labels_of_its_own_head_alone(
    fresh, store, draw_images, monkeypatch, part
):
    images, phase = draw_images(6, 9), PhaseConfig(rounds=1, trainable="parts", parts={part: {"top": 0}})
    if part == "ct":
        images.ct.targets[:] = -1
    else:
        images.xray.targets[:] = np.nan
    assert fit(fresh, store, images, draw_images(0, 0), phase, 1e-2, seed=1).pairs == 9, "the other head's reach it"
    model = fresh.experiment.model.model_copy(update={"fusion_units": ()})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"model": model}))
    assert fit(fresh, store, images, draw_images(0, 0), phase, 1e-2, seed=1).pairs == 0


@pytest.mark.parametrize("task", ["disease", "cancer"])
def test_labels_whose_loss_weighs_nothing_teach_nothing(fresh, store, draw_images, monkeypatch, task):
    loss = fresh.experiment.training.loss.model_copy(update={f"{task}_weight": 0.0})
    training = fresh.experiment.training.model_copy(update={"loss": loss})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"training": training}))
    images = draw_images(6, 9)
    assert fit(fresh, store, images, draw_images(0, 0), HEADS, 1e-3, seed=1).pairs == 9
    images.xray.targets[:], images.ct.targets[:] = (0, -1) if task == "disease" else (np.nan, 0)
    assert fit(fresh, store, images, draw_images(0, 0), HEADS, 1e-3, seed=1).pairs == 0


def test_the_same_seed_gives_the_same_weights_and_another_seed_does_not(fresh, store, draw_images):
    def trained(seed):
        fresh.layout.write(fresh.starting_weights)
        fit(fresh, store, draw_images(6, 9), draw_images(0, 0), HEADS, 1e-2, seed)
        return fresh.layout.read()["fusion"]

    assert np.array_equal(trained(1), trained(1))
    assert not np.array_equal(trained(1), trained(2))


def test_heads_train_on_every_version_of_an_image_each_with_the_labels_of_that_image(
    fresh, store, draw_images, monkeypatch
):
    training = fresh.experiment.training
    augmentation = training.augmentation.model_copy(update={"feature_versions": 2})
    changed = training.model_copy(update={"augmentation": augmentation})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"training": changed}))
    images, seen, step = draw_images(6, 9), {"xray": set(), "ct": set()}, fresh.step("heads")

    def told_apart(kind, pictures, count, **_):
        """Features that are 10 times the image's number plus the version's."""
        numbers = 10.0 * np.arange(len(pictures))[:, None]
        return [np.full((len(pictures), fresh.pooled_width(kind)), version) + numbers for version in range(count)]

    monkeypatch.setattr(store, "versions", told_apart)

    def remember(xray, ct, disease, cancer):
        for kind, features, labels, truth in (
            ("xray", xray, disease, images.xray.targets),
            ("ct", ct, cancer, images.ct.targets),
        ):
            rows, versions = np.divmod(features[:, 0].astype(int), 10)
            assert np.array_equal(labels, truth[rows])
            seen[kind].update(versions)
        return step(xray.astype(np.float32), ct.astype(np.float32), disease, cancer)

    remember.get_concrete_function = step.get_concrete_function
    monkeypatch.setitem(fresh._steps, "heads", remember)
    fit(fresh, store, images, draw_images(0, 0), HEADS, 1e-3, seed=1)
    assert seen == {"xray": {0, 1, 2}, "ct": {0, 1, 2}}


def test_by_patient_an_epoch_takes_one_image_of_each_and_the_weight_is_that_of_patients(fresh, draw_images):
    data = fresh.experiment.data.model_copy(update={"sample_by": "patient"})
    experiment = fresh.experiment.model_copy(update={"data": data})
    images = draw_images(4, 9)
    ct = replace(images.ct, patients=("long",) * 8 + ("short",))
    images = replace(images, ct=ct)
    pairs = [fit_module.epoch_pairs(experiment, images, seed) for seed in range(8)]
    assert {len(one) for one in pairs} == {4}
    assert all(np.bincount(one.ct, minlength=9)[8] == 2 for one in pairs)
    assert len({tuple(np.unique(one.ct)) for one in pairs}) > 3
    assert all(len(np.unique(one.ct)) == 3 for one in pairs), "the second time another of the eight"


@pytest.mark.parametrize(("num_xray", "num_ct"), [(0, 5), (5, 0)])
def test_without_a_pair_nothing_is_trained_and_the_report_says_so(fresh, store, draw_images, num_xray, num_ct):
    before = fresh.layout.read()
    report = fit(fresh, store, draw_images(num_xray, num_ct), draw_images(0, 0), HEADS, 1e-3, seed=1)
    assert (report.pairs, report.steps, report.loss) == (0, 0, None)
    assert all(np.array_equal(before[name], values) for name, values in fresh.layout.read().items())


def test_a_loss_that_is_no_number_ends_training_with_the_setting_to_change(fresh, store, draw_images):
    weights = fresh.layout.read()
    fresh.layout.write({**weights, "fusion": np.full_like(weights["fusion"], np.nan)})
    with pytest.raises(
        FloatingPointError, match=r"local epoch 1 at learning rate 0\.001; lower training.learning_rate"
    ):
        fit(fresh, store, draw_images(6, 6), draw_images(0, 0), HEADS, 1e-3, seed=1)


def test_local_early_stopping_goes_back_to_the_best_epoch(fresh, store, draw_images, monkeypatch):
    losses = iter([2.0, 1.0, 1.5, 1.2])
    monkeypatch.setattr(fit_module, "predict", lambda *_: (None, {"loss": next(losses)}))
    stopper = LocalStopper(fresh, store, draw_images(2, 2), HEADS, seed=1, patience=2)
    segment = fresh.layout.read(["disease"])["disease"]
    stops = []
    for epoch in range(4):
        fresh.layout.write({"disease": np.full_like(segment, epoch)})
        stops.append(stopper.should_stop())
    stopper.restore_best()
    assert stops == [False, False, False, True]
    assert set(fresh.layout.read(["disease"])["disease"]) == {1.0}


def test_without_patience_the_last_epoch_stays(fresh, store, draw_images):
    stopper = LocalStopper(fresh, store, draw_images(2, 2), HEADS, seed=1, patience=None)
    before = fresh.layout.read(["disease"])
    assert not stopper.should_stop()
    stopper.restore_best()
    assert np.array_equal(before["disease"], fresh.layout.read(["disease"])["disease"])
