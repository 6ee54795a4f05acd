import keras
import numpy as np
import pytest

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.messages import Reply
from fedthorax.common.model.dual import build_model
from fedthorax.common.model.segments import HEAD_SEGMENTS, SegmentLayout
from fedthorax.server.update_check import check_counts, check_update

LABELS = LabelsConfig(findings=("Mass",), cancer_classes=("normal", "tumour"))


@pytest.fixture(scope="module")
def layout() -> SegmentLayout:
    config = ModelConfig(
        backbone="MobileNetV3Small", image_size=32, weights="none", encoder_units=8, feature_units=4, fusion_units=(4,)
    )
    model: keras.Model = build_model(config, LABELS, seed=0)
    return SegmentLayout(model)


def update(layout: SegmentLayout, **changes) -> Reply:
    return Reply("train", "north", 1, weights=layout.read(HEAD_SEGMENTS) | changes, num_pairs=3)


def changed(layout: SegmentLayout, segment: str, position: int, value: float) -> dict[str, np.ndarray]:
    values = layout.read([segment])[segment]
    values[position] = value
    return {segment: values}


def test_a_sound_update_passes(layout):
    check_update(update(layout), layout, HEAD_SEGMENTS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 5e6])
def test_an_update_with_a_wild_value_is_refused_and_the_variable_named(layout, value):
    with pytest.raises(ValueError, match=r"holds 1 values that are not finite .* in cancer_logits/bias"):
        check_update(update(layout, **changed(layout, "cancer", -1, value)), layout, HEAD_SEGMENTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"fusion": np.zeros(3, np.float32)}, r"segment fusion: expected \d+ values .* got an array of shape \(3,\)"),
        ({"fusion": np.zeros((2, 2), np.float32)}, r"got an array of shape \(2, 2\)"),
        ({"extra": np.zeros(3, np.float32)}, "the update holds cancer, .*extra.*, expected cancer, "),
    ],
)
def test_an_update_of_another_shape_is_refused(layout, weights, message):
    with pytest.raises(ValueError, match=message):
        check_update(update(layout, **weights), layout, HEAD_SEGMENTS)


def test_double_precision_is_refused(layout):
    weights = {"cancer": layout.read(["cancer"])["cancer"].astype(np.float64)}
    with pytest.raises(ValueError, match="segment cancer: expected float32, got float64"):
        check_update(update(layout, **weights), layout, HEAD_SEGMENTS)


def test_a_missing_segment_is_refused(layout):
    reply = Reply("train", "north", 1, weights=layout.read(["fusion"]), num_pairs=3)
    with pytest.raises(ValueError, match="the update holds fusion, expected cancer"):
        check_update(reply, layout, HEAD_SEGMENTS)


def counted(pairs, told="same", weights=None) -> Reply:
    report = {"train": {"pairs": pairs if told == "same" else told}}
    return Reply("train", "north", 1, report, weights or {}, num_pairs=pairs)


@pytest.mark.parametrize("pairs", [0, 1, 9])
def test_as_many_pairs_as_were_described_are_possible(pairs):
    check_counts(counted(pairs), {"pairing": {"pairs": 9}})


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (counted(10), "the update weighs 10 pairs, but the hospital described only 9"),
        (counted(-1), "whole number from 0 on, got -1"),
        (counted(2.5), "whole number from 0 on, got 2.5"),
        (counted(True), "whole number from 0 on, got True"),
        (counted(5, told=4), "weighs 5 pairs, but its own training report says 4"),
        (counted(5, told=None), "says None"),
        (Reply("train", "north", 1, {"train": []}, num_pairs=3), "says None"),
        (counted(0, weights={"fusion": np.ones(2, np.float32)}), "comes from 0 pairs: weights without training"),
    ],
)
def test_impossible_counts_are_refused(reply, words):
    with pytest.raises(ValueError, match=words):
        check_counts(reply, {"pairing": {"pairs": 9}})


def test_a_hospital_that_described_no_pair_gives_no_update():
    with pytest.raises(ValueError, match="described only 0"):
        check_counts(counted(1), {"pairing": None})
