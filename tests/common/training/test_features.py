from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.training.features import FeatureStore


def count_computations(store, monkeypatch):
    computed = []
    real = store._compute
    monkeypatch.setattr(store, "_compute", lambda *arguments: computed.append(1) or real(*arguments))
    return computed


def test_features_are_computed_once_for_the_same_images_and_backbone(fresh, store, draw_images, monkeypatch):
    computed = count_computations(store, monkeypatch)
    images = draw_images(3, 0).xray
    first, second = store.pooled("xray", images), store.pooled("xray", images)
    assert np.array_equal(first, second)
    assert len(computed) == 1


def test_another_backbone_or_another_image_gives_new_features(fresh, store, draw_images, monkeypatch):
    computed = count_computations(store, monkeypatch)
    images = draw_images(3, 0).xray
    before = store.pooled("xray", images)
    weights = fresh.layout.read(["xray.backbone"])["xray.backbone"]
    fresh.layout.write({"xray.backbone": weights * np.float32(1.1)})
    assert not np.array_equal(before, store.pooled("xray", images))
    store.pooled("xray", draw_images(3, 0, seed=1).xray)
    assert len(computed) == 3


def test_a_backbone_that_changes_in_one_bit_gives_new_features_and_one_that_returns_the_first_ones_again(
    fresh, store, draw_images, monkeypatch
):
    computed = count_computations(store, monkeypatch)
    images, weights = draw_images(3, 0).xray, fresh.layout.read(["xray.backbone"])["xray.backbone"]
    before = store.pooled("xray", images)
    other = weights.copy()
    other.view(np.uint32)[-1] ^= 1
    fresh.layout.write({"xray.backbone": other})
    store.pooled("xray", images)
    assert len(computed) == 2
    fresh.layout.write({"xray.backbone": weights})
    assert np.array_equal(store.versions("xray", images, 2)[0], before)
    assert len(computed) == 4  # the image as it is, whose newest features were of the other backbone, and a version


def test_kept_features_serve_the_next_process_and_are_their_owners_only(fresh, draw_images, tmp_path, monkeypatch):
    images = draw_images(3, 0).xray
    features = FeatureStore(fresh, tmp_path).pooled("xray", images, keep=True)
    later = FeatureStore(fresh, tmp_path)
    computed = count_computations(later, monkeypatch)
    assert np.array_equal(features, later.pooled("xray", images))
    assert computed == []
    assert [file.stat().st_mode & 0o777 for file in tmp_path.iterdir()] == [0o600]


def test_features_that_are_not_kept_leave_no_file(fresh, draw_images, tmp_path):
    FeatureStore(fresh, tmp_path).pooled("xray", draw_images(3, 0).xray)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("trained", "fine_tuned", "kept"),
    [(["heads"], [], 1), (["heads"], ["outputs"], 1), (["heads", "all"], [], 0), (["heads"], ["heads", "all"], 0)],
)
def test_where_nothing_ever_trains_a_backbone_all_features_are_kept(
    fresh, draw_images, tmp_path, monkeypatch, trained, fine_tuned, kept
):
    training = fresh.experiment.training.model_copy(
        update={"phases": tuple(PhaseConfig(rounds=1, trainable=part) for part in trained)}
    )
    personalisation = fresh.experiment.personalisation.model_copy(update={"fine_tune": tuple(fine_tuned)})
    changed = fresh.experiment.model_copy(update={"training": training, "personalisation": personalisation})
    monkeypatch.setattr(fresh, "experiment", changed)
    FeatureStore(fresh, tmp_path).pooled("xray", draw_images(3, 0).xray)
    assert len(list(tmp_path.iterdir())) == kept


def test_a_version_is_another_picture_and_depends_on_the_picture_alone(fresh, store, draw_images):
    images = draw_images(3, 0).xray
    plain, first, second = store.versions("xray", images, 3)
    assert not np.allclose(plain, first, atol=0)
    assert not np.allclose(first, second, atol=0)
    reversed_rows = replace(images, images=images.images[::-1], digests=images.digests[::-1])
    assert store.versions("xray", reversed_rows, 2)[1][::-1] == pytest.approx(first, rel=1e-3)


def test_versions_of_another_augmentation_are_computed_anew(fresh, draw_images, tmp_path, monkeypatch):
    images = draw_images(3, 0).xray
    first = FeatureStore(fresh, tmp_path).versions("xray", images, 2, keep=True)[1]
    training = fresh.experiment.training
    stronger = training.augmentation.model_copy(update={"brightness": 0.5})
    changed = training.model_copy(update={"augmentation": stronger})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"training": changed}))
    assert not np.allclose(first, FeatureStore(fresh, tmp_path).versions("xray", images, 2, keep=True)[1], atol=0)
