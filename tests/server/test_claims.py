import keras
import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.config.federation import FederationConfig
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.config.privacy import MOST_ROUNDED, PrivacyConfig
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.results import BranchCounts
from fedthorax.common.metrics.scores import Histograms, ScoreHistogram
from fedthorax.common.metrics.suppression import rounded
from fedthorax.common.model.dual import build_model
from fedthorax.common.model.segments import HEAD_SEGMENTS, SegmentLayout
from fedthorax.common.training.schedule import RoundPlan
from fedthorax.server.claims import (
    check_beside,
    check_branch_counts,
    check_counts,
    check_described,
    check_histograms,
    check_step,
    check_update,
)
from fedthorax.server.steps import Step

from ..told import images, passport, read, trained

LABELS = LabelsConfig(findings=("Mass",), cancer_classes=("normal", "tumour"))


@pytest.fixture(scope="module")
def layout() -> SegmentLayout:
    config = ModelConfig(
        backbone="MobileNetV3Small", image_size=32, weights="none", encoder_units=8, feature_units=4, fusion_units=(4,)
    )
    model: keras.Model = build_model(config, LABELS, seed=0)
    return SegmentLayout(model)


def update(layout: SegmentLayout, **changes) -> TrainReply:
    return TrainReply(site="north", round=1, results=trained(3), weights=layout.read(HEAD_SEGMENTS) | changes)


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
    reply = TrainReply(site="north", round=1, results=trained(3), weights=layout.read(["fusion"]))
    with pytest.raises(ValueError, match="the update holds fusion, expected cancer"):
        check_update(reply, layout, HEAD_SEGMENTS)


def test_beside_the_update_comes_what_the_algorithm_sends_and_nothing_else(layout):
    plain, vectors = update(layout), layout.read(HEAD_SEGMENTS)
    check_beside(plain, layout, None)
    check_beside(beside(plain, vectors), layout, "gradients")
    with pytest.raises(ValueError, match=r"federation.strategy has gradients: the update holds nothing, expected"):
        check_beside(plain, layout, "gradients")
    with pytest.raises(ValueError, match=r"federation.strategy has nothing: the update holds cancer"):
        check_beside(beside(plain, vectors), layout, None)
    with pytest.raises(ValueError, match=r"values that are not finite .* in cancer_logits/bias"):
        check_beside(beside(plain, vectors | changed(layout, "cancer", -1, np.nan)), layout, "gradients")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"fusion": np.zeros(3, np.float32)}, r"segment fusion: expected \d+ values .* got an array of shape \(3,\)"),
        ({"extra": np.zeros(3, np.float32)}, "the update holds cancer, .*extra.*, expected cancer, "),
    ],
)
def test_beside_the_update_comes_no_more_than_its_segments_hold(layout, vectors, message):
    with pytest.raises(ValueError, match=message):
        check_beside(beside(update(layout), layout.read(HEAD_SEGMENTS) | vectors), layout, "gradients")


def test_nothing_comes_beside_an_update_of_no_pair(layout):
    with pytest.raises(ValueError, match="comes from 0 pairs: weights without training"):
        check_counts(beside(counted(0), layout.read(["cancer"])), passport(9))


def beside(reply: TrainReply, vectors: dict[str, np.ndarray]) -> TrainReply:
    return reply.model_copy(update={"beside": vectors})


def counted(pairs: int, weights=None) -> TrainReply:
    return TrainReply(site="north", round=1, results=trained(pairs), weights=weights or {})


@pytest.mark.parametrize("pairs", [0, 1, 9])
def test_as_many_pairs_as_were_described_are_possible(pairs):
    check_counts(counted(pairs), passport(9))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (counted(10), "the update weighs 10 pairs, but the hospital described only 9"),
        (counted(0, weights={"fusion": np.ones(2, np.float32)}), "comes from 0 pairs: weights without training"),
    ],
)
def test_impossible_counts_are_refused(reply, words):
    with pytest.raises(ValueError, match=words):
        check_counts(reply, passport(9))


def test_a_hospital_that_described_no_pair_gives_no_update():
    with pytest.raises(ValueError, match="described only 0"):
        check_counts(counted(1), passport(None))


@pytest.mark.parametrize(
    ("described", "words"),
    [
        (images(30, 30), "it counts 61 images for Mass, but described only 30"),
        (images(0, 30), "it counts 61 images for Mass, but described only 0"),
        (images(None, 30), "it keeps back how many X-rays it has, so .* that is meant"),
    ],
)
def test_a_histogram_counts_no_more_images_than_were_described(described, words):
    told = Histograms(
        disease={"Mass": ScoreHistogram(bins=10, edges=(0, 10), present=(1,), absent=(60,))}, cancer={"tumour": None}
    )
    with pytest.raises(ValueError, match=words):
        check_histograms(told, passport(9, valid=described), "valid", 100)
    check_histograms(told, passport(9, valid=images(40, 0)), "valid", 100)
    check_histograms(told, passport(9, valid=images(None, 0)), "valid", 100, must_say=False)
    with pytest.raises(ValueError, match=r"61 images for Mass, but the lead allows 60 to one hospital"):
        check_histograms(told, passport(9, valid=images(10**9, 0)), "valid", 60)


PASSPORT = passport(10, train=images(10, 10))
COUNTS = {"xray": 10, "ct": 10, "fusion": 10, "xray_token": 2, "ct_token": 0, "findings": [10, 10], "cancer": 10}


def branches(**changes) -> TrainReply:
    counts = read(BranchCounts, **COUNTS | changes)
    return TrainReply(site="north", round=1, results=trained(10, counts=counts))


def test_counts_within_the_passport_are_taken(experiment):
    check_branch_counts(branches(), PASSPORT, experiment)
    check_branch_counts(branches(xray=12), PASSPORT, experiment)  # the passport says 10 for 12
    hidden = passport(10, train=images(None, 10))
    check_branch_counts(branches(), hidden, experiment)
    some_images = changed_data(experiment, epoch_length="shortest")
    check_branch_counts(branches(xray=99, findings=[99, 0]), hidden, some_images)


@pytest.mark.parametrize(
    ("changes", "described", "words"),
    [
        ({"xray": 36}, 10, "the update counts 36 for xray, but the hospital described only 10"),
        ({"findings": [10, 36]}, 10, "the update counts 36 for Mass, but the hospital described only 10"),
        ({"ct_token": 36}, 10, "the update counts 36 for ct_token"),
        ({"findings": [1]}, 10, "the labels of 1 findings, expected 2"),
        ({"xray": 11}, None, "the update counts 11 for xray, but each image stands in one of its 10 pairs"),
        ({"xray": 2**31 - 8}, 2**32, "2147483640 for xray, but the lead allows 1000000 to one hospital"),
    ],
)
def test_impossible_counts_of_branches_are_refused(experiment, changes, described, words):
    with pytest.raises(ValueError, match=words):
        check_branch_counts(branches(**changes), passport(10, train=images(described, 10)), experiment)


def test_where_some_images_make_an_epoch_a_hidden_number_is_bounded_by_what_the_lead_allows(experiment):
    by_patient, hidden = changed_data(experiment, sample_by="patient"), passport(10, train=images(None, 10))
    with pytest.raises(ValueError, match="1000001 for Effusion, but the lead allows 1000000"):
        check_branch_counts(branches(findings=[1_000_001, 0]), hidden, by_patient)


def test_an_update_that_counts_nothing_is_refused(experiment):
    with pytest.raises(ValueError, match="the update counts nothing, expected xray, ct, fusion"):
        check_branch_counts(counted(10), PASSPORT, experiment)


ALLOWED = FederationConfig(largest_hospital=100)


def test_a_description_within_what_the_lead_allows_is_taken():
    check_described(passport(100, train=images(90, 75)), ALLOWED)
    check_described(passport(None), ALLOWED)


def test_no_hospital_rounds_its_images_so_far_down_that_its_own_pairs_are_too_many():
    policy = PrivacyConfig(smallest_count=100, round_to=MOST_ROUNDED)
    most = max(range(100, 200), key=lambda images: images - rounded(images, policy))
    check_described(passport(most, train=images(rounded(most, policy), 0)), FederationConfig())
    with pytest.raises(ValueError, match="less than or equal to 50"):
        PrivacyConfig(smallest_count=100, round_to=MOST_ROUNDED + 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (passport(101), r"describes 101 training pairs, but the lead allows 100 to one hospital"),
        (passport(100, train=images(40, 0)), "100 training pairs of 40 X-rays"),
    ],
)
def test_more_pairs_than_images_or_than_allowed_are_refused(data, words):
    with pytest.raises(ValueError, match=words):
        check_described(data, ALLOWED)


def of_steps(steps, pairs=32) -> TrainReply:
    told = trained(pairs, steps)
    return TrainReply(site="north", round=1, results=told)


def plan(rate=0.1) -> RoundPlan:
    return RoundPlan(0, PhaseConfig(rounds=1, trainable="heads", local_epochs=2), rate)


def step(**changes) -> Step:
    return Step(
        **{
            "norms": {"fusion and heads": 1.0},
            "farthest": 0.1,
            "variable": "a",
            "largest": 0.0,
            "left": (1.0, ""),
            "grown": (1.0, ""),
        }
        | {"shifted": (0.0, "")}
        | changes
    )


@pytest.mark.parametrize(
    ("reply", "found", "words"),
    [
        # Two steps of Adam move a value by at most 1 + 1.0012 learning rates.
        (of_steps(2), step(farthest=0.2005), "moves a value of a by 0.201, but 2 steps of Adam at learning rate 0.1"),
        (of_steps(2), step(norms={}, farthest=0.0), "changes nothing, but claims 2 steps"),
        (of_steps(2), step(left=(0.8, "b")), "leaves 0.8 of the moving variance of b; 2 steps leave more"),
        (of_steps(2), step(left=(-1.0, "b")), "leaves -1 of the moving variance"),
        (of_steps(2), step(grown=(1e7, "b")), "multiplies the moving variance of b by 1e"),
        (of_steps(2), step(shifted=(2e3, "b")), r"moves the moving mean of b by 2e\+03 standard deviations"),
        (of_steps(5), step(), "claims 5 steps, but 32 pairs in batches of 16 make at most 4 in 2 local epochs"),
        (of_steps(0), step(), "claims 0 steps"),
    ],
)
def test_a_step_that_training_cannot_have_made_is_refused(experiment, reply, found, words):
    with pytest.raises(ValueError, match=words):
        check_step(found, reply, experiment, plan())


def test_moving_statistics_alone_are_a_step_too(experiment):
    check_step(step(norms={}, farthest=0.0, shifted=(0.1, "b")), of_steps(2), experiment, plan())


def test_as_far_as_training_can_go_is_allowed(experiment):
    check_step(step(farthest=0.2001, left=(0.81, "b"), grown=(1e5, "b")), of_steps(2), experiment, plan())
    check_step(step(norms={}), of_steps(2), experiment, plan(rate=0.0))


def test_the_highest_rate_of_the_parts_counts(experiment):
    phase = PhaseConfig(rounds=1, trainable="parts", local_epochs=2, parts={"fusion": {"rate_factor": 3}, "ct": {}})
    check_step(step(farthest=0.6), of_steps(2), experiment, RoundPlan(0, phase, 0.1))
    with pytest.raises(ValueError, match=r"by 0\.61, but 2 steps of Adam at learning rate 0\.3 move none"):
        check_step(step(farthest=0.61), of_steps(2), experiment, RoundPlan(0, phase, 0.1))


def test_weight_decay_and_a_rounding_codec_leave_room(experiment_file):
    more = load_experiment(experiment_file(), ["training.weight_decay=0.5", "training.batch_size=16"])
    check_step(step(farthest=0.4, largest=2.0), of_steps(2), more, plan())  # each step takes 5 % of 2 away
    rounded = load_experiment(experiment_file(), ["federation.codec=int8", "training.batch_size=16"])
    check_step(step(farthest=0.25), of_steps(2), rounded, plan())
    coarse = load_experiment(experiment_file(), ["federation.codec=int4", "training.batch_size=16"])
    check_step(step(farthest=0.6), of_steps(2), coarse, plan())
    with pytest.raises(ValueError, match=r"by 0.7, but 2 steps"):
        check_step(step(farthest=0.7), of_steps(2), coarse, plan())


@pytest.fixture
def experiment(experiment_file):
    return load_experiment(experiment_file(), ["training.batch_size=16"])


def changed_data(experiment: Experiment, **changes) -> Experiment:
    return experiment.model_copy(update={"data": experiment.data.model_copy(update=changes)})
