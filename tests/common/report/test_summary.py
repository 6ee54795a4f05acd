from fedthorax.common.report.summary import answer, headlines, phases, run_facts, undefined


def test_headlines_say_over_how_many_they_run(metrics):
    metrics["test"]["disease"]["macro"]["num_findings"]["roc_auc"] = 12
    notes = [headline.note for headline in headlines(metrics["test"])]
    assert notes == ["over 12 of 14 findings", "over 4 of 4 classes, each against the rest", "of 180 slices"]
    assert [headline.interval for headline in headlines(metrics["rounds"][1]["central"])] == [None] * 3


def test_phases_are_told_with_their_rounds_and_rates(metrics):
    metrics["rounds"][10]["phase"]["learning_rate"] = 1e-6
    assert phases(metrics) == [
        "Phase 1, rounds 1 to 6: fusion and heads, backbones frozen; learning rate 0.001, "
        "3 passes over the data a round.",
        "Phase 2, rounds 7 to 10: the whole network; learning rate 5e-05 falling to 1e-06, "
        "1 pass over the data a round.",
    ]


def test_equal_reasons_are_told_together():
    none = {"roc_auc": "No label is known.", "f1": "No label is known."}
    rows = {"Mass": {"reasons": none}, "Edema": {"reasons": {}}, "Nodule": {"reasons": none}}
    assert undefined({"disease": {"per_finding": rows}}) == ["Mass and Nodule: ROC-AUC and F1. No label is known."]


def test_who_did_not_take_part_in_every_round_is_named_and_the_largest_hospital_as_such(metrics):
    assert answer(metrics)[1] == ("Not every hospital took part in every round: University Hospital South in 9 of 10.")
    metrics["sites"]["University Hospital South"]["data"]["pairing"]["pairs"] += 1
    for entry in metrics["rounds"]:
        entry["sites"]["Nordklinik"]["train"] = None
    assert answer(metrics)[1] == (
        "Not every hospital took part in every round: Nordklinik in none of 10 and "
        "University Hospital South, the largest hospital, in 9 of 10."
    )


def test_where_all_took_part_nothing_is_said_of_it(metrics):
    metrics["rounds"][4]["sites"] = metrics["rounds"][3]["sites"]
    assert not any("took part" in sentence for sentence in answer(metrics))


def test_a_resumed_run_says_so(metrics):
    assert "Resumed" not in dict(run_facts(metrics))
    metrics["resumed"] = [{"after_round": 3, "time": "2025-03-04T09:30:00+00:00"}]
    assert dict(run_facts(metrics))["Resumed"] == "after round 3"


def test_an_early_stop_is_told(metrics):
    metrics["stopped_early"] = True
    assert "in 10 rounds (stopped early) (simulated on one machine)" in answer(metrics)[0]
