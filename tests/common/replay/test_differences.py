"""Two records, compared value by value; hand-sized."""

import copy
from typing import Any

import pytest

from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.replay.differences import compare, largest, round_weights


def record() -> dict[str, Any]:
    def entry(number: int) -> dict[str, Any]:
        return {
            "round": number,
            "central": {"loss": 1.0 - number / 4, "disease": {"macro": {"roc_auc": 0.5, "f1": None}}},
            "sites": {"north": {"train": {"loss": 2.0, "seconds": 3.0}}},
            "failures": [],
            "late": [],
            "seconds": 5.0,
            "bytes_sent": 7,
        }

    return {
        "rounds": [entry(0), entry(1), entry(2)],
        "best_round": 2,
        "test": {"loss": 0.25},
        "totals": {"seconds": 15.0},
    }


WEIGHTS = {0: "a", 1: "b", 2: "c"}


def test_the_same_record_has_no_difference_whatever_the_clock_said() -> None:
    now = copy.deepcopy(record())
    now["rounds"][1]["seconds"] = 99.0
    now["rounds"][1]["sites"]["north"]["train"]["seconds"] = 99.0
    now["rounds"][2]["late"] = [{"site": "north"}]
    found = compare(record(), now, WEIGHTS, WEIGHTS)
    assert found.same
    assert found.first is None
    assert found.differences == ()


def test_the_first_difference_is_named_by_its_path_with_its_size() -> None:
    now = copy.deepcopy(record())
    now["rounds"][1]["central"]["loss"] = 0.625
    now["rounds"][2]["sites"]["north"]["train"]["loss"] = 2.5
    found = compare(record(), now, WEIGHTS, {**WEIGHTS, 1: "x", 2: "y"})
    assert not found.same
    assert found.first is not None
    assert found.first.round == 1
    (first, second) = found.differences
    assert (first.path, first.before, first.now, first.size) == ("rounds[1].central.loss", 0.75, 0.625, 0.125)
    assert second.path == "rounds[2].sites.north.train.loss"
    assert largest(found.differences) == second


def test_weights_alone_may_differ() -> None:
    found = compare(record(), record(), WEIGHTS, {**WEIGHTS, 2: "y"})
    assert not found.same
    assert [entry.same_weights for entry in found.rounds] == [True, True, False]
    assert compare(record(), record(), WEIGHTS, {**WEIGHTS, 2: "y"}, tolerance=1e-6).same


@pytest.mark.parametrize(("tolerance", "same"), [(0.1, False), (0.125, True)])
def test_a_tolerance_covers_numbers_up_to_it(tolerance: float, same: bool) -> None:
    now = copy.deepcopy(record())
    now["test"]["loss"] = 0.375
    assert compare(record(), now, WEIGHTS, WEIGHTS, tolerance).same is same


@pytest.mark.parametrize(
    "change",
    [
        {"central": {"loss": None}},
        {"failures": [{"site": "north", "stage": "train", "reason": "disk full"}]},
        {"sites": {}},
    ],
)
def test_no_tolerance_covers_what_is_missing_or_of_another_kind(change: dict[str, Any]) -> None:
    now = copy.deepcopy(record())
    now["rounds"][1] |= change
    found = compare(record(), now, WEIGHTS, WEIGHTS, tolerance=1e9)
    assert not found.same
    assert {one.path.split(".")[0] for one in found.differences} == {"rounds[1]"}


def test_another_number_of_rounds_is_a_difference_and_common_rounds_are_compared() -> None:
    now = copy.deepcopy(record())
    del now["rounds"][2]
    found = compare(record(), now, WEIGHTS, {0: "a", 1: "b"})
    assert [entry.round for entry in found.rounds] == [0, 1]
    assert [(one.path, one.before, one.now) for one in found.differences] == [("rounds", 3, 2)]


def test_a_round_that_was_run_again_counts_as_it_was_run_last(tmp_path: Any) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    for number, digest in ((0, "a"), (1, "b"), (1, "c")):
        log.append("round closed", round=number, model_sha256=digest)
    log.append("run ended", status="finished")
    assert round_weights(log.path) == {0: "a", 1: "c"}


def test_an_altered_log_is_not_believed(tmp_path: Any) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append("round closed", round=0, model_sha256="a")
    log.path.write_text(log.path.read_text().replace('"a"', '"b"'))
    with pytest.raises(ValueError, match="was changed after it was written"):
        round_weights(log.path)
