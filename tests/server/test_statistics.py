import copy
import json
import subprocess
import sys

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.messages import Reply
from fedthorax.server.statistics import ask_statistics, gather_statistics


@pytest.fixture
def experiment(experiment_file):
    return load_experiment(experiment_file())


class Answers:
    """A channel whose hospitals answer with what they are given here, a dict or a reason for failing."""

    def __init__(self, answers):
        self.answers, self.tasks, self.bytes_sent, self.bytes_received = answers, [], 0, 0

    def exchange(self, tasks):
        self.tasks = list(tasks)
        for task in reversed(tasks):
            answer = self.answers[task.site]
            if isinstance(answer, str):
                yield Reply("statistics", task.site, 0, error=answer)
            else:
                yield Reply("statistics", task.site, 0, {"statistics": answer})


def test_all_hospitals_are_asked_in_one_round_with_one_number(experiment, told):
    channel = Answers({"north": told(), "st.mary": told()})
    gathered = ask_statistics(experiment, ("north", "st.mary"), channel)
    assert list(gathered.sites) == ["north", "st.mary"]
    assert {task.kind for task in channel.tasks} == {"statistics"}
    assert len({task.digest_key for task in channel.tasks}) == 1
    again = Answers(channel.answers)
    ask_statistics(experiment, ("north", "st.mary"), again)
    assert again.tasks[0].digest_key != channel.tasks[0].digest_key


def test_a_hospital_that_fails_is_named_and_the_others_count(experiment, told):
    channel = Answers({"north": told(), "st.mary": "the disk is gone"})
    document = ask_statistics(experiment, ("north", "st.mary"), channel).document()
    assert list(document["sites"]) == ["north"]
    assert document["failures"] == [{"site": "st.mary", "reason": "the disk is gone"}]


def test_without_any_answer_every_reason_is_told(experiment):
    with pytest.raises(RuntimeError, match=r"no hospital gave statistics \(north: a; st.mary: b\)"):
        ask_statistics(experiment, ("north", "st.mary"), Answers({"north": "a", "st.mary": "b"}))


def test_sums_are_lower_bounds_where_a_hospital_hides(experiment, told):
    document = gather_statistics(
        experiment, ("north", "st.mary"), {"north": told(present=40), "st.mary": told(present=None)}
    ).document()
    assert document["totals"]["findings"]["Effusion"]["present"] == {
        "count": 40,
        "plus_minus": 2,
        "hidden_at": ["st.mary"],
        "reason": None,
    }


def test_a_sum_of_hidden_counts_is_null_and_not_zero(experiment, told):
    hidden = {site: told(present=None) for site in ("north", "st.mary")}
    total = gather_statistics(experiment, tuple(hidden), hidden).document()["totals"]["findings"]["Effusion"]["present"]
    assert (total["count"], total["reason"]) == (None, "hidden at every hospital that may have any")


def test_distances_and_shared_images_stand_for_every_pair(experiment, told):
    answers = {"north": told(present=100, absent=0), "st.mary": told(present=0, absent=100)}
    document = gather_statistics(experiment, ("north", "st.mary"), answers).document()
    (pair,) = document["distances"]["findings"]["pairs"]
    assert (pair["sites"], pair["distance"], pair["over"]) == (["north", "st.mary"], 0.5, ["Effusion", "Mass"])
    assert document["distances"]["xray_intensity"]["pairs"][0]["distance"] == 0
    assert document["distances"]["ct_intensity"]["pairs"][0]["distance"] is None
    assert document["distances"]["xray_intensity"]["within_sites"] == {"north": 0.01, "st.mary": 0.01}
    assert document["duplicates"]["pairs"][0]["xray"] == 1


def test_no_hash_stands_in_the_document(experiment, told):
    document = gather_statistics(experiment, ("north",), {"north": told()}).document()
    assert told()["duplicates"]["xray"][0] not in json.dumps(document)


def changed(told, *path, value):
    answer = copy.deepcopy(told())
    *parents, last = path
    place = answer
    for key in parents:
        place = place[key]
    place[last] = value
    return answer


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("findings", "Effusion", "cells", "present"), 3, "finding Effusion, present is 3, which the site's policy"),
        (("xray", "sex", "cells", "F"), 7, "X-ray sex, F is 7, which the site's policy does not allow"),
        (("xray", "images"), 101, "the number of X-rays is 101"),
        (("xray", "age", "cells", "unknown"), None, "must have a reason exactly where it has a hidden count"),
        (("co_occurrence", 0, "images"), 2, "the pair Effusion and Mass is 2"),
        (("policy", "smallest_count"), 1, "round_to must be at most smallest_count"),
        (
            ("policy",),
            {"smallest_count": 3, "round_to": 1},
            "has smallest_count 3, but the consortium asks for at least 5",
        ),
        (("findings", "Effusion", "cells", "present"), -5, "greater than or equal to 0"),
        (("findings", "Effusion", "cells", "present"), "many", "valid integer"),
        (("findings", "Hernia"), {"cells": {}, "reason": None}, "the findings differ from the experiment's in Hernia"),
        (("cancer_classes", "cells"), {"normal": 0}, "the cancer classes differ"),
        (("xray", "intensity"), [1.0], "must have 32 bins, found 1"),
        (("pictures",), ["iVBORw0KGgo"], "pictures: Extra inputs are not permitted"),
    ],
)
def test_an_answer_that_breaks_the_policy_or_the_form_is_refused_by_name(experiment, told, path, value, words):
    answers = {"north": changed(told, *path, value=value), "st.mary": told()}
    gathered = gather_statistics(experiment, ("north", "st.mary"), answers)
    assert list(gathered.sites) == ["st.mary"]
    assert words in gathered.failures["north"]
    assert gathered.failures["north"].startswith("refused: ")


def test_an_answer_without_statistics_is_named(experiment):
    assert "older version" in gather_statistics(experiment, ("north",), {"north": None}).failures["north"]


def test_the_server_needs_no_tensorflow():
    code = "import sys, fedthorax.server.statistics; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
