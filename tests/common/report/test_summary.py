from fedthorax.common.record.run import read_run
from fedthorax.common.report.cautions import cautions
from fedthorax.common.report.summary import against_chance, answers, headlines, phases, run_facts, undefined
from fedthorax.common.report.tables import round_rows

from .synthetic import SITES


def test_headlines_say_over_how_many_they_run(metrics):
    metrics["test"]["disease"]["macro"]["num_findings"]["roc_auc"] = 12
    notes = [headline.note for headline in headlines(read_run(metrics).test)]
    assert notes == [
        "over 12 of 14 findings; 0.5 is chance, 1 is without fault",
        "over 4 classes, each against the rest; 0.5 is chance",
        "of 180 slices; always the commonest class: 0.339",
    ]
    assert [headline.interval for headline in headlines(read_run(metrics).rounds[1].central)] == [None] * 3


def test_phases_are_told_with_their_rounds_and_rates(metrics):
    metrics["rounds"][10]["phase"]["learning_rate"] = 1e-6
    assert phases(read_run(metrics)) == [
        "Phase 1, rounds 1 to 6: fusion and heads, backbones frozen; learning rate 0.001, "
        "3 passes over the data a round.",
        "Phase 2, rounds 7 to 10: the whole network; learning rate 5e-05 falling to 1e-06, "
        "1 pass over the data a round.",
    ]


def test_equal_reasons_are_told_together(metrics):
    none = {"roc_auc": "No label is known.", "f1": "No label is known."}
    rows = metrics["test"]["disease"]["per_finding"]
    for name, row in [*rows.items(), *metrics["test"]["cancer"]["per_class"].items()]:
        row["reasons"] = none if name in ("Mass", "Nodule") else {}
    told = undefined(read_run(metrics).test)
    assert told == ["Mass and Nodule: ROC-AUC and F1. No label is known."]


def test_who_did_not_take_part_in_every_round_is_named_and_the_largest_hospital_as_such(metrics):
    assert answers(read_run(metrics))["who"][2] == (
        "Not every hospital took part in every round: University Hospital South in 9 of 10."
    )
    metrics["sites"]["University Hospital South"]["data"]["pairing"]["pairs"] += 1
    for entry in metrics["rounds"]:
        entry["sites"]["Nordklinik"]["train"] = None
    assert answers(read_run(metrics))["who"][2] == (
        "Not every hospital took part in every round: Nordklinik in none of 10 and "
        "University Hospital South, the largest hospital, in 9 of 10."
    )


def test_where_all_took_part_nothing_is_said_of_it(metrics):
    metrics["rounds"][4]["sites"] = metrics["rounds"][3]["sites"]
    assert not any("took part" in sentence for sentence in answers(read_run(metrics))["who"])


def test_under_masks_a_hospital_took_part_and_hidden_counts_are_not_none(metrics):
    for entry in metrics["rounds"][1:]:
        entry["failures"] = []
        for name in SITES:
            entry["sites"].setdefault(name, {"valid": None})
            entry["sites"][name] |= {"train": None, "update_norm": None, "masked": True}
    for number, name in enumerate(SITES):
        if number:
            metrics["sites"][name]["data"]["splits"]["train"] |= {"xray": None, "ct": None}
    first = metrics["sites"][SITES[0]]["data"]["splits"]["train"]
    run = read_run(metrics)
    assert (
        f"with at least {first['xray']} X-rays and at least {first['ct']} CT slices to train" in answers(run)["who"][0]
    )
    assert not any("took part" in sentence for sentence in answers(run)["who"])
    assert not any(caution.lead == "Missing." for caution in cautions(run))
    assert round_rows(run)[1]["cells"][1] == "3 of 3"
    first |= {"xray": None, "ct": None}
    assert "; on how many images they train they do not tell." in answers(read_run(metrics))["who"][0]


def test_a_resumed_run_says_so(metrics):
    assert "Resumed" not in dict(run_facts(read_run(metrics)))
    metrics["resumed"] = [{"after_round": 3, "time": "2025-03-04T09:30:00+00:00"}]
    assert dict(run_facts(read_run(metrics)))["Resumed"] == "after round 3"


def test_an_early_stop_is_told(metrics):
    metrics["stopped_early"] = True
    assert answers(read_run(metrics))["what"][0].endswith("in 10 rounds (stopped early).")


def test_how_many_labels_are_better_than_chance_is_told(metrics):
    above, at_chance, few = against_chance(read_run(metrics).test)
    assert "Hernia" in few
    assert sorted(above + at_chance + few) == sorted(
        [*metrics["labels"]["findings"], *metrics["labels"]["cancer_classes"]]
    )
    for name in above:
        task, group = ("disease", "per_finding") if name in metrics["labels"]["findings"] else ("cancer", "per_class")
        assert metrics["test"]["intervals"][task][group][name]["roc_auc"][0] > 0.5
    told = answers(read_run(metrics))["good"][1]
    assert told.startswith(f"Of 18 labels: {len(above)} better than chance")
    assert f"{len(at_chance)} not shown to be ({', '.join(at_chance[:-1])} and {at_chance[-1]})" in told
    assert f"{len(few)} with too few images to tell (fewer than 10 with it or without it: " in told
    for row in metrics["test"]["intervals"]["disease"]["per_finding"].values():
        row["roc_auc"] = [0.5, 0.9]
    for row in metrics["test"]["intervals"]["cancer"]["per_class"].values():
        row["roc_auc"] = [0.4, 0.9]
    assert "labels: none better than chance" in answers(read_run(metrics))["good"][1]


def test_what_hid_the_weights_is_told_with_what_was_exchanged(metrics):
    assert answers(read_run(metrics))["who"][1] == "They exchanged model weights and figures, no images."
    metrics["masks"] = {"roster": "ab", "smallest_sum": 3, "threshold": 2}
    masked = answers(read_run(metrics))["who"][1]
    assert ", masked so that the server read sums of 3 hospitals or more, and figures, no images." in masked


def test_a_model_that_was_never_trained_is_called_so(metrics):
    metrics["best_round"] = 0
    assert "The model of round 0, the one before any training, was selected" in answers(read_run(metrics))["what"][1]


def test_of_the_last_round_it_is_said_that_no_image_chose_it(metrics):
    metrics["selection"] |= {"metric": "last", "value": None}
    told, number = answers(read_run(metrics))["what"][1], metrics["best_round"]
    assert told == f"The model is that of the last round, {number}, as was set beforehand: no image chose it."


def test_whether_joining_paid_is_told_where_it_was_measured_and_not_known_otherwise(metrics):
    assert answers(read_run(metrics))["alone"][0].startswith("Not known")
    document = {
        "hospitals": {
            "Nord": {"own": {"verdict": {"disease": "helped", "cancer": "cannot be told"}}},
            "Sued": {"own": {"verdict": {"disease": "no difference shown", "cancer": "cannot be told"}}},
        }
    }
    told = answers(read_run(metrics), "ct", joined_at=("demo-joining", document))["alone"]
    assert told == [
        "X-ray findings: joining helped Nord; no difference is shown for Sued.",
        "From demo-joining, where every hospital was also trained alone.",
    ]
    assert answers(read_run({**metrics, "mode": "train"}))["alone"] == [], "there was nobody to join"
