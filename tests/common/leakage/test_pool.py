"""Who is in the pool, by patient."""

from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.config.data import CENTRAL
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.leakage import pool as module
from fedthorax.common.leakage.pool import gather, joined
from fedthorax.common.records.records import Attributes


def part(images, site, split, number):
    features = [np.full((len(images), 4), number, np.float32)]
    return site, split, images, features


def test_a_copy_of_a_members_picture_is_left_out_and_the_member_stays(draw_images):
    train, test = draw_images(3, 0, seed=1).xray, draw_images(3, 0, seed=2).xray
    test = replace(test, digests=(train.digests[1], *test.digests[1:]))
    empty = draw_images(0, 0).ct
    pool = joined(
        {
            "xray": [part(test, "central", "test", 2), part(train, "north", "train", 1)],
            "ct": [part(empty, "north", "train", 0)],
        }
    )
    assert (len(pool), pool.left_out) == (5, 1)
    assert pool.hospitals == ("north",) * 3 + ("central",) * 2
    assert pool.trained.tolist() == [True] * 3 + [False] * 2
    assert pool.features["xray"][0][:, 0].tolist() == [1, 1, 1, 2, 2]
    assert pool.has("ct").tolist() == [False] * 5


def test_a_patient_is_one_whatever_images_he_has(draw_images):
    images = draw_images(3, 2)
    xray = replace(images.xray, patients=("anna", "bert", "anna"), named=(True, True, True))
    ct = replace(images.ct, patients=("carl", "anna"), named=(False, False))
    sets = {"xray": [part(xray, "north", "train", 1)], "ct": [part(ct, "north", "train", 1)]}
    pool = joined(sets)
    assert len(pool) == 3
    assert (pool.rows["xray"].tolist(), pool.rows["ct"].tolist()) == ([0, 1, 0], [2, 0])
    assert pool.by_patient("xray", np.array([[1.0], [np.nan], [3.0]]))[:, 0].tolist()[0] == 2
    assert np.isnan(pool.by_patient("xray", np.array([[1.0], [np.nan], [3.0]]))[1:]).all()
    anna = pool.images_of(np.array([True, False, False]))
    assert (len(anna.xray), len(anna.ct)) == (2, 1)
    assert (pool.units("xray"), pool.units("ct")) == ("patients", "images")


def test_groups_are_of_attributes_labels_and_hospitals(draw_images):
    xray = draw_images(3, 0).xray
    targets = np.array([[1, 0, 0], [0, 0, 0], [np.nan, 0, 1]], np.float32)
    facts = (Attributes(sex="F", age_years=65), Attributes(sex="M"), Attributes(view="PA"))
    images = replace(xray, targets=targets, attributes=facts, named=(True,) * 3)
    pool = joined(
        {"xray": [part(images, "north", "train", 1)], "ct": [part(draw_images(0, 0).ct, "north", "train", 1)]}
    )
    told = {name: of.tolist() for name, of in pool.groups("xray", ("Effusion", "Mass", "Nodule")).items()}
    assert told["sex F"] == [True, False, False]
    assert told["age 60-79"] == [True, False, False]
    assert told["view PA"] == [False, False, True]
    assert (told["Effusion"], told["Nodule"]) == ([True, False, False], [False, False, True])
    assert told["no finding"] == [False, True, False]
    assert told["hospital north"] == [True] * 3


def test_canaries_are_patients_more_whose_features_are_spread_as_those_of_images(draw_images):
    features = np.array([[0, 5, 1], [4, 5, 1], [0, 5, 2], [4, 5, 2]], np.float32)
    pool = joined(
        {
            "xray": [("north", "train", draw_images(4, 0).xray, [features])],
            "ct": [part(draw_images(0, 0).ct, "north", "train", 1)],
        }
    )
    more = pool.with_canaries("xray", 500, 1)
    assert (len(more), more.trained.sum()) == (504, 4)
    drawn = more.features["xray"][0][4:]
    assert drawn.mean(axis=0) == pytest.approx([2, 5, 1.5], abs=0.2)
    assert drawn.std(axis=0) == pytest.approx([2, 0, 0.5], abs=0.2)
    assert len({*more.sets["xray"].digests}) == len({*map(bytes, drawn)}) + 4 == 504
    assert 0.3 < np.nanmean(more.sets["xray"].targets[4:]) < 0.7


def test_training_and_test_images_of_hospitals_are_taken_and_of_the_server_its_test_images(
    draw_images, small_experiment, monkeypatch
):
    def load(experiment, name, progress):
        number = 1 if name == CENTRAL else 2
        splits = {
            split: draw_images(number, 1, seed=10 * number + place)
            for place, split in enumerate(("train", "valid", "test"))
        }
        return SiteImages(name, splits)

    class Store:
        def versions(self, modality, images, count, keep, progress):
            return [np.ones((len(images), 4), np.float32)] * count

    monkeypatch.setattr(module, "load_hospital", load)
    augmentation = small_experiment.training.augmentation.model_copy(update={"feature_versions": 2})
    training = small_experiment.training.model_copy(update={"augmentation": augmentation})
    experiment = small_experiment.model_copy(update={"training": training})
    pool = gather(experiment, ["north", CENTRAL], Store())
    assert [len(version) for version in pool.features["xray"]] == [5, 5, 5]
    assert len(pool.sets["ct"]) == 3
    assert pool.trained[pool.rows["xray"]].tolist() == [True, True, False, False, False]
