import json

from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.report import write_report
from fedthorax.common.report.provenance import commands, commands_section, fingerprint_rows, privacy_words

CONFIG = {"data": {"privacy": {"smallest_count": 7, "round_to": 5}}}


def test_each_mode_says_what_was_exchanged_and_who_saw_it(metrics):
    simulated = " ".join(privacy_words(metrics, CONFIG))
    assert "nothing was protected from its owner" in simulated
    assert "of fewer than 7 patients are hidden" in simulated
    consortium = " ".join(privacy_words({**metrics, "mode": "consortium"}, CONFIG))
    assert "Counts of hospitals are rounded to multiples of 5." in consortium
    assert "The server saw each hospital's own weights." in consortium
    assert "mean of the gradients" in privacy_words({**metrics, "strategy": "scaffold"}, CONFIG)[1]
    assert privacy_words({**metrics, "mode": "train"}, {}) == ["All images were in one place. Nothing was exchanged."]


def test_fingerprints_of_data_and_heads_of_logs_stand_side_by_side(metrics):
    metrics["sites"]["St. Anna"] |= {"fingerprint": "a" * 64, "egress_head": "b" * 64}
    metrics["central"]["fingerprint"] = "c" * 64
    assert fingerprint_rows(metrics) == [
        {"name": "St. Anna", "cells": ["a" * 16, "b" * 16]},
        {"name": "Central (server)", "cells": ["c" * 16, "\N{EN DASH}"]},
    ]


def test_versions_and_the_command_that_runs_it_again(metrics):
    assert "flwr 1.41.0" in commands_section(metrics)
    assert commands(metrics)[0] == "fedthorax simulate RUN/config.yaml --set name=again"
    assert commands({**metrics, "mode": "consortium"})[0].startswith("fedthorax run RUN/config.yaml")


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
