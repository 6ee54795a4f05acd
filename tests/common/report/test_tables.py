import numpy as np
import pytest

from fedthorax.common.metrics.scores import Scores
from fedthorax.common.record.completed import completed
from fedthorax.common.record.run import read_run
from fedthorax.common.report import tables
from fedthorax.common.report.document import render

from ...heads import cancer_scores


def scores_of(parts):
    return Scores.model_validate(completed(Scores, parts), strict=False)


def test_a_finding_with_few_positives_shows_no_interval(metrics):
    rows = {row["name"]: row for row in tables.score_rows(read_run(metrics).test, "disease")["rows"]}
    assert rows["Hernia"]["cells"][1] == "too few"
    assert rows["Hernia"]["few"]
    low, high = metrics["test"]["intervals"]["disease"]["per_finding"]["Mass"]["roc_auc"]
    assert rows["Mass"]["cells"][1] == f"{low:.3f} to {high:.3f}"


def test_a_run_without_intervals_has_a_report_without_their_column(metrics):
    """evaluation.bootstrap_samples: 0."""
    metrics["test"]["intervals"] = None
    metrics["test"].pop("examinations", None)
    found = tables.score_rows(read_run(metrics).test, "disease")
    assert not found["intervals"]
    assert {len(row["cells"]) for row in (*found["rows"], *found["means"])} == {len(found["titles"]) + 2}
    assert "No intervals." in render(read_run(metrics), None)


def test_the_means_say_over_how_many_findings_they_run(metrics):
    means = tables.score_rows(read_run(metrics).test, "disease")["means"]
    assert [mean["name"] for mean in means] == ["Mean (macro)", "By positives (weighted)", "All together (micro)"]
    over = [cell[-9:-7] for cell in means[0]["cells"] if "over" in cell]
    assert (over[0], over[1], set(over[2:])) == ("14", "13", {"14"})


def test_the_confusion_matrix_gives_shares_of_its_rows():
    scores = cancer_scores(np.array([0, 0, 0, 0]), np.eye(2)[[0, 0, 0, 1]], ["a", "b"])
    disease = {"per_finding": {}}
    matrix = tables.confusion(scores_of({"disease": disease, "cancer": scores}))
    assert [(cell["count"], cell["percent"]) for cell in matrix["rows"][0]["cells"]] == [("3", "75%"), ("1", "25%")]
    assert [cell["percent"] for cell in matrix["rows"][1]["cells"]] == ["", ""]
    nothing = cancer_scores(np.array([-1]), np.eye(2)[[0]], ["a", "b"])
    assert tables.confusion(scores_of({"disease": disease, "cancer": nothing})) is None


def test_a_hospital_called_like_the_server_is_not_lost(metrics):
    metrics["sites"][tables.CENTRAL] = metrics["sites"]["St. Anna"]
    names = [row["name"] for row in tables.data_rows(read_run(metrics)) if row["name"]]
    assert names.count(tables.CENTRAL) == 2


def test_files_that_a_hospital_does_not_name_are_counted(metrics):
    data = metrics["sites"]["St. Anna"]["data"]
    data |= {"notes": [], "notes_kept": 2}
    told = {"file": "3 files", "reason": "are empty", "count": 3}
    of_fault = {"file": None, "reason": None, "fault": "empty", "count": 3}
    for skipped in (of_fault, told):  # the second is how files of older runs say it
        data["skipped"] = [skipped]
        remark = next(remark for remark in tables.remarks(read_run(metrics)) if remark["name"] == "St. Anna")
        assert (remark["num_skipped"], remark["unlisted"], remark["skipped"]) == (3, 0, [told])
        assert remark["notes"] == [
            "2 remarks on its folders, told at the hospital only: `fedthorax site check` shows them"
        ]


def test_a_long_list_of_skipped_files_is_cut_and_says_so(metrics):
    metrics["sites"]["St. Anna"]["data"]["skipped"] = [{"file": f"{n}.png", "reason": "x"} for n in range(60)]
    remark = next(remark for remark in tables.remarks(read_run(metrics)) if remark["name"] == "St. Anna")
    assert (len(remark["skipped"]), remark["num_skipped"], remark["unlisted"]) == (50, 60, 10)


def test_rounds_count_the_hospitals_that_trained(metrics):
    rows = tables.round_rows(read_run(metrics))
    assert [row["cells"][1] for row in rows[3:6]] == ["3 of 3", "2 of 3", "3 of 3"]
    assert [row["name"] for row in rows if row["style"] == "best"] == ["8 (best)"]


def test_a_dash_in_a_hospitals_row_has_its_reason_below_once(metrics):
    few = "Fewer than 8 images: the hospital keeps it."
    macro = {"roc_auc": None, "reasons": {"roc_auc": few}}
    metrics["sites"]["St. Anna"]["test"] = {"disease": {"macro": macro}, "cancer": {"macro": macro}}
    mine = [line for line in tables.site_gaps(read_run(metrics)) if line.startswith("St. Anna")]
    assert mine == [f"St. Anna, own test: {few}"]
    assert few in render(read_run(metrics), None)


def test_what_the_check_found_stands_among_the_remarks(metrics):
    metrics["sites"]["St. Anna"]["data"]["check"] = [
        {"code": "duplicate-across-splits", "level": "error", "modality": "ct", "count": 3},
        {"code": "duplicate-within-split", "level": "note", "modality": "ct", "count": 8},
    ]
    remarks = {remark["name"]: remark["check"] for remark in tables.remarks(read_run(metrics))}
    assert remarks["St. Anna"] == [
        "accepted error: The same picture on two sides of the split (duplicate-across-splits), 3",
        "note: The same picture several times on one side (duplicate-within-split), 8",
    ]


def test_a_pooled_row_that_leaves_everything_open_is_left_out_with_its_reason(metrics):
    anything = {"value": 0.5, "lowest": 0.0, "highest": 1.0}
    metrics["pooled"]["disease"]["Hernia"] |= {"roc_auc": anything, "pr_auc": anything, "calibration_error": None}
    metrics["pooled"]["disease"]["Mass"] |= {
        "roc_auc": None,
        "pr_auc": None,
        "calibration_error": None,
        "reason": "No hospital tells enough.",
    }
    found = tables.pooled(read_run(metrics))
    assert not {"Hernia", "Mass"} & {row["name"] for row in found["rows"]}
    assert len(found["rows"]) == 14 + 4 - 2
    assert found["reasons"] == [
        "Hernia: the counts that hospitals may tell leave every figure open from 0 to 1",
        "Mass: No hospital tells enough.",
    ]
    assert "within</th>" in render(read_run(metrics), None)
    assert "leave every figure open" in render(read_run(metrics), None)


def test_the_map_of_agreement_leaves_figures_of_few_images_out_of_how_far_apart_the_hospitals_are(metrics):
    for name, value in zip(metrics["sites"], (0.9, 0.5, 0.7), strict=True):
        metrics["sites"][name]["test"] = {
            "disease": {
                "per_finding": {"Mass": {"roc_auc": value, "descriptive": value == 0.5}},
                "macro": {"roc_auc": value},
            },
            "cancer": {},
        }
    found = tables.agreement(read_run(metrics))
    assert found["images"] == "test images"
    assert found["heads"] == ["Label", *metrics["sites"], "Apart by"]
    (table,) = found["tables"]
    mass, mean = table["rows"]
    assert [words for words, _ in mass["cells"]] == ["0.900", "0.500*", "0.700"]
    assert [share for _, share in mass["cells"]] == [pytest.approx(0.8), None, pytest.approx(0.4)]
    assert (mass["spread"], mean["spread"]) == ("0.200", "0.400")


def test_hospitals_that_tell_no_test_are_compared_by_their_validation_and_one_alone_not_at_all(metrics, run_metrics):
    for site in metrics["sites"].values():
        site["test"] = None
    assert tables.agreement(read_run(metrics))["images"] == "validation images"
    assert tables.agreement(read_run(run_metrics(("Nord",), 1))) is None


def test_classes_by_patient_stand_beside_those_by_slice(metrics):
    test = metrics["test"]
    by_patient = {"rule": "mean", "cancer": test["cancer"], "intervals": {"cancer": test["intervals"]["cancer"]}}
    test["examinations"] = by_patient
    first, *_, slices, found = tables.score_rows(read_run(metrics).test, "cancer")["means"]
    assert found["name"] == f"By patient (mean of the slices, {test['cancer']['known']} patients), macro"
    assert slices["name"].startswith("All together")
    assert found["cells"] == first["cells"]
