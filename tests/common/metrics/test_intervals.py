import math

import numpy as np
import pytest

from fedthorax.common.metrics import resampling
from fedthorax.common.metrics.figures import CLASS_METRICS, FINDING_METRICS
from fedthorax.common.metrics.intervals import paired_difference
from fedthorax.common.metrics.resampling import draw_patients

from ...heads import (
    bootstrap_cancer,
    bootstrap_disease,
    cancer_resamples,
    cancer_scores,
    disease_resamples,
    disease_scores,
)

FINDINGS = ("Mass", "Nodule", "Hernia")
CLASSES = ("adeno", "normal", "squamous")
SAMPLES = 40


def disease_data(num_images=30, seed=1):
    """Several images for many patients, ties among the probabilities, unknown labels, one rare finding."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_images, 3)) < [0.5, 0.3, 0.0]).astype(np.float64)
    truth[4, 2] = 1
    truth[rng.random((num_images, 3)) < 0.15] = np.nan
    truth[4, 2] = 1
    probability = np.round(rng.random((num_images, 3)) * [1, 1, 0.6], 1)
    patients = [f"p{number}" for number in rng.integers(0, 12, num_images)]
    return truth, probability, patients


def cancer_data(num_images=24, seed=2):
    rng = np.random.default_rng(seed)
    truth = rng.integers(-1, 3, num_images)
    truth[truth == 2] = 1
    truth[3] = 2
    probability = np.round(rng.dirichlet([1, 1, 1], num_images), 1)
    return truth, probability, [f"p{number}" for number in rng.integers(0, 10, num_images)]


def literal_resamples(scores_of_rows, patients, seed):
    """Copy the images of every drawn patient and score the copies: slow, and hard to get wrong."""
    names = sorted(set(patients))
    rows_of = {name: [row for row, patient in enumerate(patients) if patient == name] for name in names}
    for drawn in draw_patients(np.random.default_rng(seed), len(names), SAMPLES):
        yield scores_of_rows([row for index in drawn for row in rows_of[names[index]]])


def figure_of(scores, path):
    for key in path:
        scores = scores[key]
    return math.nan if scores is None else scores


def test_every_disease_figure_of_every_resample_equals_a_literal_resampling_with_scikit_learn():
    truth, probability, patients = disease_data()
    resamples = disease_resamples(truth, probability, patients, FINDINGS, 0.5, SAMPLES, seed=3)
    literal = list(
        literal_resamples(lambda rows: disease_scores(truth[rows], probability[rows], FINDINGS, 0.5), patients, seed=3)
    )
    literal.insert(0, disease_scores(truth, probability, FINDINGS, 0.5))
    assert len(resamples.values) == len(FINDING_METRICS) * (3 + 3)  # findings and means
    for path, values in resamples.values.items():
        np.testing.assert_allclose(values, [figure_of(scores, path) for scores in literal], rtol=0, atol=1e-12)
    assert 0 < np.isnan(resamples.values["per_finding", "Hernia", "roc_auc"]).sum() < SAMPLES


def test_every_cancer_figure_of_every_resample_equals_a_literal_resampling_with_scikit_learn():
    truth, probability, patients = cancer_data()
    resamples = cancer_resamples(truth, probability, patients, CLASSES, SAMPLES, seed=4)
    literal = list(
        literal_resamples(lambda rows: cancer_scores(truth[rows], probability[rows], CLASSES), patients, seed=4)
    )
    literal.insert(0, cancer_scores(truth, probability, CLASSES))
    assert len(resamples.values) == len(CLASS_METRICS) * (3 + 3) + 1  # classes, means, accuracy
    for path, values in resamples.values.items():
        np.testing.assert_allclose(values, [figure_of(scores, path) for scores in literal], rtol=0, atol=1e-12)


def test_the_interval_is_the_middle_95_percent_of_the_defined_resamples():
    truth, probability, patients = disease_data()
    result = bootstrap_disease(truth, probability, patients, FINDINGS, 0.5, SAMPLES, seed=3)
    values = disease_resamples(truth, probability, patients, FINDINGS, 0.5, SAMPLES, seed=3).values
    hernia = values["per_finding", "Hernia", "roc_auc"][1:]
    defined = hernia[~np.isnan(hernia)]
    assert result["per_finding"]["Hernia"]["roc_auc"] == pytest.approx(list(np.percentile(defined, [2.5, 97.5])))
    assert result["per_finding"]["Hernia"]["defined"]["roc_auc"] == len(defined) < SAMPLES
    assert result["macro"]["roc_auc"] == pytest.approx(list(np.percentile(values["macro", "roc_auc"][1:], [2.5, 97.5])))
    assert (result["samples"], result["level"], result["patients"]) == (SAMPLES, 0.95, len(set(patients)))


def test_cancer_intervals_mirror_the_scores():
    truth, probability, patients = cancer_data()
    result = bootstrap_cancer(truth, probability, patients, CLASSES, SAMPLES, seed=4)
    low, high = result["accuracy"]
    assert 0 <= low <= cancer_scores(truth, probability, CLASSES)["accuracy"] <= high <= 1
    assert result["defined"]["accuracy"] == SAMPLES
    assert set(result["per_class"]) == set(CLASSES)
    for mean in ("macro", "weighted", "micro"):
        assert set(result[mean]) == {*CLASS_METRICS, "defined"}


def test_patients_are_resampled_and_not_images():
    # one patient owns all images of each truth value: images alone would give a narrow interval
    truth = np.array([[1.0]] * 20 + [[0.0]] * 20)
    probability = np.tile([[0.9], [0.2]], (20, 1))
    patients = ["a"] * 20 + ["b"] * 20
    values = disease_resamples(truth, probability, patients, ["Mass"], 0.5, 200, seed=0).values
    recall = values["per_finding", "Mass", "recall"][1:]
    assert set(recall[~np.isnan(recall)]) == {0.5}
    assert np.isnan(recall).sum() == pytest.approx(50, abs=25)  # both draws are patient b


def test_an_undefined_figure_and_a_single_patient_have_no_interval():
    truth, probability = np.array([[0.0], [0.0]]), np.array([[0.1], [0.9]])
    result = bootstrap_disease(truth, probability, ["a", "b"], ["Mass"], 0.5, 10, seed=0)
    assert result["per_finding"]["Mass"]["roc_auc"] is None
    assert result["per_finding"]["Mass"]["defined"]["roc_auc"] == 0
    assert result["macro"]["accuracy"] is not None
    alone = bootstrap_disease(truth, probability, ["a", "a"], ["Mass"], 0.5, 10, seed=0)
    assert alone["macro"]["accuracy"] is None


def test_a_label_that_is_known_of_one_patient_alone_has_no_interval():
    truth = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, np.nan], [0.0, np.nan]])
    probability, patients = np.array([[0.9, 0.9], [0.2, 0.2], [0.3, 0.3], [0.6, 0.6]]), ["a", "a", "b", "c"]
    result = bootstrap_disease(truth, probability, patients, ["Mass", "Nodule"], 0.5, 40, seed=0)["per_finding"]
    assert result["Mass"]["roc_auc"] == [0.0, 1.0]
    assert result["Nodule"]["roc_auc"] is None  # 1 in every resample, which says nothing of another patient
    only = [disease_resamples(truth[:, 1:], probability[:, 1:], patients, ["Nodule"], 0.5, 40, seed=0)]
    difference = paired_difference(only, only, ("macro", "roc_auc"))["difference"]
    assert (difference["value"], difference["interval"]) == (0.0, None)


@pytest.mark.parametrize("num_images", [0, 5])
def test_no_resamples_or_no_images_give_nulls(num_images):
    truth, probability = np.zeros((num_images, 1)), np.zeros((num_images, 1))
    samples = 0 if num_images else 10
    result = bootstrap_disease(truth, probability, list("abcde")[:num_images], ["Mass"], 0.5, samples, seed=0)
    assert result["macro"]["accuracy"] is None
    empty = bootstrap_cancer(
        np.full(num_images, -1), np.zeros((num_images, 3)), ["a"] * num_images, CLASSES, samples, 0
    )
    assert empty["accuracy"] is None


def test_the_same_seed_gives_the_same_interval_whatever_the_block_size(monkeypatch):
    data = disease_data()
    whole = bootstrap_disease(*data, FINDINGS, 0.5, SAMPLES, seed=3)
    monkeypatch.setattr(resampling, "MAX_CELLS", 7 * 30)
    assert bootstrap_disease(*data, FINDINGS, 0.5, SAMPLES, seed=3) == whole
    assert bootstrap_disease(*data, FINDINGS, 0.5, SAMPLES, seed=4) != whole


def test_a_model_against_itself_differs_by_exactly_nothing():
    resamples = disease_resamples(*disease_data(), FINDINGS, 0.5, SAMPLES, seed=3)
    result = paired_difference([resamples], [resamples], ("macro", "roc_auc"))
    assert result["difference"] == {"value": 0.0, "interval": [0.0, 0.0], "defined": SAMPLES}
    assert result["ratio"] == {"value": 1.0, "interval": [1.0, 1.0], "defined": SAMPLES}


def test_a_paired_interval_takes_the_difference_within_each_resample():
    truth, probability, patients = disease_data()
    better = np.where(truth == 1, probability + 0.3, probability).clip(0, 1)
    first, second = (disease_resamples(truth, p, patients, FINDINGS, 0.5, SAMPLES, 3) for p in (better, probability))
    figure = ("per_finding", "Mass", "roc_auc")
    result = paired_difference([first], [second], figure)
    differences = (first.values[figure] - second.values[figure])[1:]
    assert result["difference"]["interval"] == pytest.approx(list(np.percentile(differences, [2.5, 97.5])))
    assert result["difference"]["value"] == pytest.approx(result["first"] - result["second"])
    assert result["difference"]["interval"][0] > 0


def test_several_training_seeds_are_averaged_and_widen_the_interval():
    truth, probability, patients = disease_data()
    rng = np.random.default_rng(9)
    noisy = [np.clip(probability + rng.normal(0, 0.3, probability.shape), 0, 1) for _ in range(3)]
    arms = [disease_resamples(truth, p, patients, FINDINGS, 0.5, 300, 3) for p in noisy]
    base = [disease_resamples(truth, probability, patients, FINDINGS, 0.5, 300, 3)] * 3
    figure = ("macro", "roc_auc")
    result = paired_difference(arms, base, figure)
    assert result["first"] == pytest.approx(np.mean([arm.values[figure][0] for arm in arms]))
    fixed = np.mean([arm.values[figure] for arm in arms], axis=0)[1:] - base[0].values[figure][1:]
    low, high = result["difference"]["interval"]
    assert high - low > np.diff(np.percentile(fixed, [2.5, 97.5]))[0]


def test_resamples_of_different_patients_are_not_compared():
    truth, probability, patients = disease_data()
    first = disease_resamples(truth, probability, patients, FINDINGS, 0.5, 5, seed=3)
    second = disease_resamples(truth, probability, patients, FINDINGS, 0.5, 5, seed=4)
    with pytest.raises(ValueError, match="a paired interval needs the same draw"):
        paired_difference([first], [second], ("macro", "roc_auc"))
    with pytest.raises(ValueError, match="equally many models in both arms and at least one, got 1, 0"):
        paired_difference([first], [], ("macro", "roc_auc"))


def test_wrong_numbers_of_patients_and_samples_are_refused():
    with pytest.raises(ValueError, match="patient of each of the 1 images, got 2 names"):
        bootstrap_disease(np.zeros((1, 1)), np.zeros((1, 1)), ["a", "b"], ["Mass"], 0.5, 5, 0)
    with pytest.raises(ValueError, match="samples must be 0 or more, got -1"):
        bootstrap_cancer(np.zeros(1, int), np.zeros((1, 3)), ["a"], CLASSES, -1, 0)
