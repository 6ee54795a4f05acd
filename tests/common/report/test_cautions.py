import pytest

from fedthorax.common.record.run import read_run
from fedthorax.common.report.cautions import cautions


def told(metrics):
    return [f"{caution.lead} {caution.text}" for caution in cautions(read_run(metrics))]


def drop_training(metrics):
    for number in (2, 3):
        metrics["rounds"][number]["sites"]["St. Anna"]["train"] = None


def south_is_largest(metrics):
    metrics["sites"]["University Hospital South"]["data"]["pairing"]["pairs"] = 301


def come_late(metrics):
    metrics["rounds"][5]["late"] = [
        {"site": "University Hospital South", "stage": "train", "round": 4, "duplicate": False, "seconds": 9.0}
    ]


def be_odd(metrics):
    metrics["rounds"][2]["warnings"] = [{"site": "St. Anna", "reason": "the update changes nothing"}]


def change_mass(**changes):
    def change(metrics):
        metrics["test"]["disease"]["per_finding"]["Mass"].update(changes)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(status="failed", error="disk full"), "Not finished. The run failed before its end; the"),
        (lambda m: m.update(status="failed", error="disk full"), "Reason: disk full"),
        (lambda m: m.update(strategy="fedbn"), "Each hospital's figures are of the common model with its own; the"),
        (lambda m: m.update(status="interrupted"), "The run was interrupted before its end"),
        (lambda m: None, "Failure. University Hospital South failed in round 4: no reply within 86400 s"),
        (south_is_largest, "Failure. University Hospital South, the largest hospital, failed in round 4: no reply"),
        (come_late, "Late. University Hospital South answered round 4 too late; that work is not used."),
        (be_odd, "Odd, but counted. St. Anna in round 2: the update changes nothing."),
        (drop_training, "Missing. St. Anna trained nothing in rounds 2 to 3."),
        (lambda m: m.update(best_round=0), "Nothing learnt. No round gave a better model than the one before"),
        (change_mass(roc_auc=None), "Undefined. ROC-AUC cannot be computed for Mass; reasons"),
        (lambda m: None, "Selected by few. Fewer than 35 of the validation images that chose the round show "),
        (
            lambda m: None,
            "From 35 on a ROC-AUC is known to within 0.05 (standard error); in the choice each counted alike",
        ),
        (lambda m: m["selection"].update(weights="certainty"), "in the choice these counted for less."),
        (lambda m: None, "Never predicted. At the decision threshold Fibrosis was predicted on no test image"),
        (lambda m: m["test"].update(intervals=None), "No intervals. No 95 % intervals were computed"),
        (lambda m: None, "Files left out. Unreadable files were skipped: 1 at Nordklinik, 1 at St. Anna and 1 at Univ"),
        (
            lambda m: m.update(
                test_with_duplicates={
                    "disease": m["test"]["disease"],
                    "cancer": {**m["test"]["cancer"], "accuracy": 0.987},
                }
            ),
            "left out of the scores. Counting them too: CT accuracy 0.987 instead of",
        ),
        (
            lambda m: m["sites"]["St. Anna"]["data"].update(
                check=[{"code": "duplicate-across-splits", "level": "error", "modality": "ct", "count": 3}]
            ),
            "Accepted errors in the data. The same picture on two sides of the split: St. Anna (3).",
        ),
        (lambda m: None, "Duplicates. 1 central test image also stood among the images that train or select a model"),
        (
            lambda m: m["sites"]["Nordklinik"]["data"]["splits"]["train"].update(ct=0),
            "Nothing to train on. Nordklinik has no CT slices to train on.",
        ),
        (lambda m: None, "CT patients. Every CT test slice counts as a patient of its own."),
        (lambda m: None, "as a rule these are of different people (0 of 900 pairs are of one patient)"),
    ],
)
def test_what_limits_the_figures_is_said(metrics, change, sentence):
    change(metrics)
    assert any(sentence in line for line in told(metrics)), told(metrics)


@pytest.mark.parametrize(
    ("change", "lead"),
    [
        (lambda m: m["rounds"][4].update(failures=[], sites=m["rounds"][3]["sites"]), "Failure."),
        (lambda m: None, "Missing."),
        (lambda m: None, "Late."),
        (lambda m: None, "Odd, but counted."),
        (lambda m: None, "Not finished."),
        (lambda m: None, "Nothing learnt."),
        (lambda m: m["selection"].update(metric="last", value=None), "Selected by few."),
        (lambda m: m["central"].update(left_out=[]), "Duplicates."),
        (lambda m: m["test"]["patients"].update(ct=60), "CT patients."),
    ],
)
def test_what_did_not_happen_is_not_said(metrics, change, lead):
    change(metrics)
    assert not any(line.startswith(lead) for line in told(metrics))


def test_a_failed_site_is_not_also_called_missing_and_grave_cautions_come_first(metrics):
    metrics["status"] = "interrupted"
    found = cautions(read_run(metrics))
    assert [caution.lead for caution in found if caution.grave] == ["Not finished.", "Failure."]
    assert [caution.grave for caution in found] == sorted((caution.grave for caution in found), reverse=True)


def test_many_failures_do_not_bury_the_first_screen(metrics):
    for entry in metrics["rounds"][1:]:
        entry["failures"] = [{"site": f"S{index}", "stage": "train", "reason": "x"} for index in range(12)]
    lines = told(metrics)
    assert sum(line.startswith("Failure.") for line in lines) == 8
    assert "And more. 5 further failures or absences; see Rounds." in lines


def test_the_widest_gap_between_groups_of_patients_is_told_where_more_than_chance_shows(metrics):
    for groups in (metrics["test"]["subgroups"], metrics["pooled"]["by_site"]):
        for value in figures_with_a_gap(groups):
            value["gap_interval"] = [-1.0, 1.0]
    assert not any("Not alike for all." in line for line in told(metrics))
    value = metrics["test"]["subgroups"]["disease"]["sex"]["groups"]["F"]["mean"]["recall"]
    value |= {"value": 0.5, "others": 0.8, "gap": -0.3, "gap_interval": [-0.4, -0.2]}
    (line,) = [line for line in told(metrics) if line.startswith("Not alike for all.")]
    assert ", 1 with a 95 % interval that leaves 0 out;" in line
    assert "The widest: Sex F: Sensitivity 0.500, others 0.800." in line


def figures_with_a_gap(found):
    if isinstance(found, dict):
        if found.get("gap") is not None:
            yield found
        for value in found.values():
            yield from figures_with_a_gap(value)
