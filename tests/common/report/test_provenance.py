import json

from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.record.run import read_run
from fedthorax.common.report import write_report
from fedthorax.common.report.provenance import (
    commands,
    commands_section,
    fingerprint_rows,
    given_table,
    privacy_section,
    privacy_words,
    who_sees,
)

from .synthetic import PRIVACY

CONFIG = {"data": {"privacy": {"smallest_count": 7, "round_to": 5}}}


def test_each_mode_says_what_was_exchanged_and_who_saw_it(metrics):
    simulated = " ".join(privacy_words(read_run(metrics), CONFIG))
    assert "nothing was protected from its owner" in simulated
    assert "of fewer than 7 patients are hidden" in simulated
    consortium = " ".join(privacy_words(read_run({**metrics, "mode": "consortium"}), CONFIG))
    assert "Counts of hospitals are rounded to multiples of 5." in consortium
    assert "The server saw each hospital's own weights." in consortium
    assert "mean of the gradients" in privacy_words(read_run({**metrics, "strategy": "scaffold"}), CONFIG)[1]
    assert privacy_words(read_run({**metrics, "mode": "train"}), {}) == [
        "All images were in one place. Nothing was exchanged."
    ]


def test_the_page_says_what_was_promised_to_patients_what_is_spent_and_what_is_not_covered(metrics):
    assert "The model may remember single patients" in " ".join(privacy_words(read_run(metrics), CONFIG))
    privacy = PRIVACY
    said = privacy_words(read_run({**metrics, "privacy": privacy}), CONFIG)
    assert said[3] == "The noise came from the seed, which is in this report: it protects nobody."
    for words in (
        "but for delta 0.0001",
        "Noise multiplier 2.975, sampling rate 1, 30 steps, clip 0.1",
        "worked out with dp-accounting 0.6.0",
        "nobody saw any, unless 2 hospitals or more and the server",
        "Not covered: scores of validation and test images",
    ):
        assert words in " ".join(said)
    site = "St. Anna"
    privacy = privacy | {"steps_taken": {site: 20}, "spent": {site: 6.31}}
    given = given_table(read_run({**metrics, "privacy": privacy}))
    assert given["names"] == ["Hospital", "Rounds that it is in", "Epsilon planned", "spent", "Steps"]
    told = {row["name"]: row["cells"][1:] for row in given["rows"]}
    assert (told.pop(site), *told.values()) == (["8", "6.310", "20"], *[["8", "\N{EN DASH}", "0"]] * 2)
    consortium = read_run({**metrics, "mode": "consortium", "privacy": {**privacy, "mechanism": "local"}})
    assert "Values without noise: nobody outside the hospital saw any." in privacy_words(consortium, CONFIG)
    assert "protects nobody" not in " ".join(privacy_words(consortium, CONFIG))


def test_a_masked_run_says_who_could_see_what_and_how_often_each_hospital_was_in_a_sum(metrics):
    assert "Who could see what" not in privacy_section(read_run(metrics), CONFIG, None)
    for one in metrics["rounds"][1:]:
        one["sites"]["St. Anna"] |= {"train": None, "masked": True}
    metrics["masks"] = {"smallest_sum": 2, "threshold": 3, "roster": "12345 67890"}
    run = read_run(metrics)
    told = who_sees(run)
    assert told["The lead's server"] == "sums of at least 2 hospitals, no update of one"
    assert told["Lead and hospitals together"].startswith(
        "an update of one hospital, where 3 hospitals break the rules"
    )
    assert told["Who gets the model"] == "the model"
    rounds = len(metrics["rounds"]) - 1
    assert {"name": "St. Anna", "cells": [str(rounds)]} in given_table(run)["rows"]
    page = privacy_section(run, CONFIG, None)
    assert "the roster 12345 67890" in page
    assert "Only training anew without them undoes it." in page


def test_fingerprints_of_data_and_heads_of_logs_stand_side_by_side(metrics):
    metrics["sites"]["St. Anna"] |= {"fingerprint": "a" * 64, "egress_head": "b" * 64}
    metrics["central"]["fingerprint"] = "c" * 64
    assert fingerprint_rows(read_run(metrics)) == [
        {"name": "St. Anna", "cells": ["a" * 16, "b" * 16]},
        {"name": "Central (server)", "cells": ["c" * 16, "\N{EN DASH}"]},
    ]


def test_versions_and_the_command_that_runs_it_again(metrics):
    assert "flwr 1.41.0" in commands_section(read_run(metrics))
    assert commands(read_run(metrics))[0] == "fedthorax simulate RUN/config.yaml --set name=again"
    assert commands(read_run({**metrics, "mode": "consortium"}))[0].startswith("fedthorax run RUN/config.yaml")


def test_the_newest_entry_of_the_log_is_named_and_a_damaged_log_hinders_no_report(tmp_path, metrics):
    (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "test": None, "rounds": []}))
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append("run started")
    head = log.append("run ended")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "had 2 entries when this page was written" in text
    assert head in text
    with log.path.open("a") as file:
        file.write("{")
    assert "audit.jsonl, is not beside" in write_report(tmp_path).read_text(encoding="utf-8")
