import numpy as np
import pytest

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.resampling import draw_patients
from fedthorax.common.metrics.subgroups import FIGURES, groups_of
from fedthorax.common.records.records import Attributes

from ...heads import cancer_answers, cancer_scores, disease_answers, disease_scores, subgroup_scores

FINDINGS = ("Mass", "Nodule")
EXACT = PrivacyConfig(smallest_count=5, round_to=1)
SAMPLES, SEED = 40, 3


def data(num_images=120, seed=1):
    """Two images a patient; women are recognised worse than men, and Nodule is rare."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_images, 2)) < [0.5, 0.05]).astype(float)
    truth[rng.random((num_images, 2)) < 0.05] = np.nan
    patients = [f"p{row // 2}" for row in range(num_images)]
    sexes = ["F" if row // 2 % 2 else "M" for row in range(num_images)]
    skill = np.where(np.array(sexes) == "F", 0.3, 2.0)[:, None]
    probability = 1 / (1 + np.exp(-(rng.normal(0, 1, truth.shape) + skill * np.nan_to_num(truth) - 0.5)))
    return truth, probability, patients, [Attributes(sex=sex) for sex in sexes]


def scores_of(truth, probability, patients, attributes, policy=EXACT, samples=SAMPLES, guarded=False):
    answers = disease_answers(truth, probability, [0.5] * len(FINDINGS))
    return subgroup_scores(answers, patients, attributes, FINDINGS, samples, SEED, policy, guarded)


def test_figures_of_a_group_are_those_of_its_images_alone():
    truth, probability, patients, attributes = data()
    women = np.array([one.sex == "F" for one in attributes])
    groups = scores_of(truth, probability, patients, attributes)["sex"]["groups"]
    for name, rows in (("F", women), ("M", ~women)):
        alone = disease_scores(truth[rows], probability[rows], FINDINGS, 0.5)["per_finding"]
        assert groups[name]["images"] == rows.sum()
        for finding in FINDINGS:
            told = groups[name]["labels"][finding]
            if told["reason"] is None:
                assert (told["support"], told["known"]) == (alone[finding]["support"], alone[finding]["known"])
                assert {figure: told[figure]["value"] for figure in FIGURES} == pytest.approx(
                    {figure: alone[finding][figure] for figure in FIGURES}
                )


def test_figures_of_classes_are_those_of_the_groups_slices_alone():
    rng = np.random.default_rng(2)
    truth, probability = rng.integers(-1, 2, 90), rng.dirichlet([1, 1, 1], 90)
    attributes = [Attributes(scanner="A" if row % 3 else "B") for row in range(90)]
    patients = [f"p{row}" for row in range(90)]
    labels = ("adeno", "normal", "squamous")
    told = subgroup_scores(cancer_answers(truth, probability), patients, attributes, labels, 5, 0, EXACT)
    for name in "AB":
        rows = np.array([one.scanner == name for one in attributes])
        alone = cancer_scores(truth[rows], probability[rows], labels)["per_class"]
        for label in labels[:2]:
            found = told["scanner"]["groups"][name]["labels"][label]
            assert {figure: found[figure]["value"] for figure in FIGURES} == pytest.approx(
                {figure: alone[label][figure] for figure in FIGURES}
            )
        assert told["scanner"]["groups"][name]["labels"]["squamous"]["support"] == 0


def test_the_gap_and_its_interval_are_of_the_same_resamples_on_both_sides():
    truth, probability, patients, attributes = data()
    women = np.array([one.sex == "F" for one in attributes])
    told = scores_of(truth, probability, patients, attributes)["sex"]["groups"]["F"]["labels"]["Mass"]["roc_auc"]

    def gap(rows):
        sides = [rows[women[rows]], rows[~women[rows]]]
        areas = [disease_scores(truth[side], probability[side], FINDINGS, 0.5) for side in sides]
        return np.subtract(*(area["per_finding"]["Mass"]["roc_auc"] for area in areas))

    names = sorted(set(patients))
    rows_of = {name: [row for row, patient in enumerate(patients) if patient == name] for name in names}
    gaps = [
        gap(np.array([row for index in drawn for row in rows_of[names[index]]]))
        for drawn in draw_patients(np.random.default_rng(SEED), len(names), SAMPLES)
    ]
    assert told["gap"] == pytest.approx(gap(np.arange(len(truth))))
    assert told["gap"] == pytest.approx(told["value"] - told["others"])
    assert told["gap_interval"] == pytest.approx(list(np.percentile(gaps, [2.5, 97.5])))
    assert told["gap_interval"][1] < 0, "women were made to be recognised worse"


def test_only_labels_with_ten_positives_and_negatives_on_both_sides_are_compared():
    groups = scores_of(*data())["sex"]["groups"]
    rare = groups["F"]["labels"]["Nodule"]
    assert rare["descriptive"]
    assert groups["F"]["mean"]["labels"] == ["Mass"]
    assert groups["F"]["mean"]["roc_auc"] == groups["F"]["labels"]["Mass"]["roc_auc"]
    truth, probability, patients, attributes = data(36)
    few = scores_of(truth, probability, patients, attributes)["sex"]["groups"]["F"]
    assert few["mean"]["labels"] == []
    assert few["mean"]["roc_auc"]["value"] is None or few["mean"]["reason"]
    assert few["labels"]["Mass"]["roc_auc"]["gap"] is None
    assert few["labels"]["Mass"]["roc_auc"]["interval"] is None


def test_a_group_of_few_patients_is_hidden_and_cannot_be_computed_from_the_others():
    truth, probability, patients, attributes = data()
    attributes = [Attributes(view="LL" if row < 4 else "AP" if row < 60 else "PA") for row in range(len(attributes))]
    told = scores_of(truth, probability, patients, attributes)["view"]
    assert told["groups"]["LL"] == {"images": None, "reason": "Fewer than 5 patients: hidden."}
    others = [told["groups"][name] for name in ("AP", "PA")]
    assert None in [group["images"] for group in others]
    for group in others:
        counts = {row[count] for row in group["labels"].values() for count in ("support", "known")}
        assert (counts == {None}) == (group["images"] is None)
    assert others[1]["labels"]["Mass"]["roc_auc"]["value"] is not None


def test_a_label_that_few_patients_of_a_group_have_is_hidden():
    truth, probability, patients, attributes = data()
    truth[:, 1] = 0
    truth[[1, 9], 1] = 1
    told = scores_of(truth, probability, patients, attributes)["sex"]["groups"]["M"]["labels"]["Nodule"]
    assert told["reason"] == "Fewer than 5 patients have it, or lack it: hidden."
    assert (told["support"], told["known"]) == (None, None)
    assert not set(told) & set(FIGURES)


def test_a_label_that_few_patients_of_the_others_have_is_not_compared():
    """Ten images of two men who have it are images enough, and still two men."""
    truth, probability, patients, attributes = data()
    patients = [f"m{row // 10}" if attributes[row].sex == "M" else name for row, name in enumerate(patients)]
    truth[:, 0] = [row % 20 in (2, 3) or (one.sex == "M" and row < 24) for row, one in enumerate(attributes)]
    told = scores_of(truth, probability, patients, attributes)["sex"]["groups"]
    assert told["M"]["labels"]["Mass"]["reason"]
    assert told["F"]["labels"]["Mass"]["roc_auc"]["others"] is None
    assert told["F"]["mean"]["labels"] == []


def test_guarded_figures_of_all_others_count_images_of_no_group_and_few_of_these_hide_the_smaller_group():
    truth, probability, patients, attributes = data()
    attributes = [Attributes() if row in (0, 1, 4, 5) else one for row, one in enumerate(attributes)]  # two men
    women = np.array([one.sex == "F" for one in attributes])
    open_ones = scores_of(truth, probability, patients, attributes)["sex"]["groups"]
    groups = scores_of(truth, probability, patients, attributes, guarded=True)["sex"]["groups"]
    assert open_ones["F"]["labels"]["Mass"]["reason"] is open_ones["M"]["labels"]["Mass"]["reason"] is None
    hidden = groups["M"]["labels"]["Mass"]
    assert hidden["reason"] == "Hidden: beside the others it would give the figures of few patients away."
    assert not set(hidden) & set(FIGURES)
    assert groups["M"]["mean"]["roc_auc"]["value"] is None
    assert groups["M"]["mean"]["reason"].endswith("Labels that few patients have, or lack, are hidden.")
    assert groups["F"]["labels"]["Mass"]["roc_auc"]["others"] == pytest.approx(
        disease_scores(truth[~women], probability[~women], FINDINGS, 0.5)["per_finding"]["Mass"]["roc_auc"]
    )


def test_scanners_of_few_patients_are_not_even_named_and_counts_are_rounded_as_the_policy_says():
    truth, probability, patients, attributes = data()
    attributes = [Attributes(scanner="rare" if row < 2 else "common") for row in range(len(attributes))]
    told = scores_of(truth, probability, patients, attributes, PrivacyConfig(smallest_count=5, round_to=5))
    assert list(told["scanner"]["groups"]) == ["common"]
    truth, probability, patients, attributes = data()
    told = scores_of(truth, probability, patients, attributes, PrivacyConfig(smallest_count=5, round_to=5))
    row = told["sex"]["groups"]["F"]["labels"]["Mass"]
    assert row["known"] % 5 == row["support"] % 5 == 0


def test_attributes_that_nobody_knows_are_left_out_and_ages_stand_in_bands():
    assert groups_of([]) == {}
    found = groups_of([Attributes(age_years=17.5), Attributes(age_years=80), Attributes()])
    assert found == {"age_years": ["0-17", "80+", None]}
    truth, probability, patients, attributes = data()
    attributes = [Attributes(age_years=30 if row < 60 else 90) if row > 9 else Attributes() for row in range(120)]
    told = scores_of(truth, probability, patients, attributes)["age_years"]
    assert list(told["groups"]) == ["18-39", "80+"]
    assert told["unknown"] == 10


def test_without_resamples_there_are_figures_and_no_intervals():
    told = scores_of(*data(), samples=0)["sex"]["groups"]["F"]["mean"]["roc_auc"]
    assert told["gap"] is not None
    assert told["interval"] is told["gap_interval"] is None
