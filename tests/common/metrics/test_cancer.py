import numpy as np
import pytest

from fedthorax.common.metrics.figures import CLASS_METRICS as METRICS

from ...heads import cancer_scores

CLASSES = ("adenocarcinoma", "normal", "squamous")

RANKINGS = ("roc_auc", "pr_auc", "sensitivity_at_specificity")


def one_hot(*predicted):
    return np.eye(3, dtype=np.float32)[list(predicted)]


def test_three_classes_give_the_figures_that_a_hand_computes():
    truth = np.array([0, 0, 1, 2])
    scores = cancer_scores(truth, one_hot(0, 1, 1, 2), CLASSES)
    assert scores["accuracy"] == 0.75
    assert scores["confusion_matrix"] == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    first = scores["per_class"]["adenocarcinoma"]
    assert (first["precision"], first["recall"], first["support"]) == (1.0, 0.5, 2)
    assert first["f1"] == pytest.approx(2 / 3)
    assert first["roc_auc"] == 0.75  # of four (own, other) pairs two are ordered and two are ties
    assert scores["macro"]["recall"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert scores["macro"]["num_classes"] == dict.fromkeys(METRICS, 3)
    assert scores["weighted"]["recall"] == pytest.approx((2 * 0.5 + 1 + 1) / 4)
    assert scores["micro"]["f1"] == scores["micro"]["precision"] == 0.75
    assert scores["micro"]["specificity"] == pytest.approx(
        7 / 8
    )  # one of the eight (slice, other class) cells is named
    assert first["specificity"] == 1.0
    assert first["descriptive"] is True
    assert scores["reasons"] == {}


def test_a_slice_of_unknown_class_is_left_out_everywhere():
    with_unknown = cancer_scores(np.array([-1, 0, 1]), one_hot(2, 0, 1), CLASSES)
    assert with_unknown == cancer_scores(np.array([0, 1]), one_hot(0, 1), CLASSES)
    assert with_unknown["known"] == 2


def test_a_class_without_slices_has_null_figures_and_the_macro_mean_leaves_it_out():
    scores = cancer_scores(np.array([0, 1, 1]), one_hot(0, 1, 0), CLASSES)
    squamous = scores["per_class"]["squamous"]
    assert squamous["roc_auc"] is squamous["recall"] is squamous["f1"] is squamous["precision"] is None
    assert squamous["reasons"] == {
        **dict.fromkeys([*RANKINGS, "recall", "f1"], "None of the slices (3) belongs to this class."),
        "precision": "No slice was predicted to belong to this class.",
    }
    assert scores["macro"]["num_classes"]["recall"] == 2
    assert scores["macro"]["recall"] == pytest.approx((1 + 0.5) / 2)
    assert len(scores["confusion_matrix"]) == 3


def test_a_single_class_has_no_roc_auc():
    scores = cancer_scores(np.array([1, 1]), one_hot(1, 0), CLASSES)
    assert scores["per_class"]["normal"]["roc_auc"] is None
    reasons = scores["per_class"]["normal"]["reasons"]
    assert reasons == reasons | dict.fromkeys([*RANKINGS, "specificity"], "All slices (2) belong to this class.")
    assert "recall" not in reasons
    assert scores["macro"]["roc_auc"] is None
    assert scores["macro"]["reasons"]["roc_auc"] == "No class has this figure."


def test_no_known_class_gives_nulls_and_a_matrix_of_zeros():
    scores = cancer_scores(np.array([-1, -1]), one_hot(0, 1), CLASSES)
    assert scores["accuracy"] is None
    assert scores["reasons"] == {"accuracy": "No label is known."}
    assert scores["confusion_matrix"] == [[0, 0, 0]] * 3
    assert scores["per_class"]["normal"]["reasons"]["f1"] == "No label is known."


@pytest.mark.parametrize(
    ("truth", "probability", "message"),
    [
        (np.array([0.0]), one_hot(0), "of integers, got shape"),
        (np.array([0, 1]), one_hot(0), r"must have shape \(2 images, 3 classes\), got \(1, 3\)"),
        (np.array([3]), one_hot(0), "truth must hold -1 to 2, got 3 to 3"),
        (np.array([0]), np.full((1, 3), np.nan), "probability must lie in"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(truth, probability, message):
    with pytest.raises(ValueError, match=message):
        cancer_scores(truth, probability, CLASSES)
