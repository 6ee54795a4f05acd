import json
import subprocess
import sys

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.messages.replies import StatisticsReply
from fedthorax.common.messages.results import Told
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.server.statistics import ask_statistics, gather_statistics

from ..told import read, statistics


@pytest.fixture
def experiment(experiment_file):
    return load_experiment(experiment_file())


class Answers:
    """A channel whose hospitals answer with what they are given here, a dict or a reason for failing."""

    def __init__(self, answers):
        self.answers, self.tasks, self.bytes_sent, self.bytes_received = answers, [], 0, 0

    def gather(self, required):
        return frozenset(self.answers)

    def exchange(self, tasks, enough):
        self.tasks = list(tasks)
        for task in reversed(tasks):
            answer = self.answers[task.site]
            if isinstance(answer, str):
                yield StatisticsReply(site=task.site, round=0, error=answer)
            else:
                yield StatisticsReply(site=task.site, round=0, results=Told(statistics=answer))


def test_all_hospitals_are_asked_in_one_round_with_one_number(experiment):
    channel = Answers({"north": statistics(), "st.mary": statistics()})
    gathered = ask_statistics(experiment, ("north", "st.mary"), channel)
    assert list(gathered.sites) == ["north", "st.mary"]
    assert {task.kind for task in channel.tasks} == {"statistics"}
    assert len({task.digest_key for task in channel.tasks}) == 1
    again = Answers(channel.answers)
    ask_statistics(experiment, ("north", "st.mary"), again)
    assert again.tasks[0].digest_key != channel.tasks[0].digest_key


def test_a_hospital_that_fails_is_named_and_the_others_count(experiment):
    channel = Answers({"north": statistics(), "st.mary": "the disk is gone"})
    document = ask_statistics(experiment, ("north", "st.mary"), channel).document()
    assert list(document["sites"]) == ["north"]
    assert document["failures"] == [{"site": "st.mary", "reason": "the disk is gone"}]


def test_without_any_answer_every_reason_is_told(experiment):
    with pytest.raises(RuntimeError, match=r"no hospital gave statistics \(north: a; st.mary: b\)"):
        ask_statistics(experiment, ("north", "st.mary"), Answers({"north": "a", "st.mary": "b"}))


def test_sums_are_lower_bounds_where_a_hospital_hides(experiment):
    document = gather_statistics(
        experiment, ("north", "st.mary"), {"north": statistics(present=40), "st.mary": statistics(present=None)}
    ).document()
    assert document["totals"]["findings"]["Effusion"]["present"] == {
        "count": 40,
        "plus_minus": 2,
        "hidden_at": ["st.mary"],
        "reason": None,
    }


def test_a_sum_of_hidden_counts_is_null_and_not_zero(experiment):
    hidden = {site: statistics(present=None) for site in ("north", "st.mary")}
    total = gather_statistics(experiment, tuple(hidden), hidden).document()["totals"]["findings"]["Effusion"]["present"]
    assert (total["count"], total["reason"]) == (None, "hidden at every hospital that may have any")


def test_distances_and_shared_images_stand_for_every_pair(experiment):
    answers = {"north": statistics(present=100, absent=0), "st.mary": statistics(present=0, absent=100)}
    document = gather_statistics(experiment, ("north", "st.mary"), answers).document()
    (pair,) = document["distances"]["findings"]["pairs"]
    assert (pair["sites"], pair["distance"], pair["over"]) == (["north", "st.mary"], 0.5, ["Effusion", "Mass"])
    assert document["distances"]["xray_intensity"]["pairs"][0]["distance"] == 0
    assert document["distances"]["ct_intensity"]["pairs"][0]["distance"] is None
    assert document["distances"]["xray_intensity"]["within_sites"] == {"north": 0.01, "st.mary": 0.01}
    assert document["duplicates"]["pairs"][0]["xray"] == 1


def test_no_hash_stands_in_the_document(experiment):
    document = gather_statistics(experiment, ("north",), {"north": statistics()}).document()
    assert statistics().duplicates.xray[0] not in json.dumps(document)


def changed(*path, value):
    answer = statistics().model_dump(mode="json")
    *parents, last = path
    place = answer
    for key in parents:
        place = place[key]
    place[last] = value
    return read(SiteStatistics, **answer)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("findings", "Effusion", "cells", "present"), 3, "finding Effusion, present is 3, which the site's policy"),
        (("xray", "sex", "cells", "F"), 7, "X-ray sex, F is 7, which the site's policy does not allow"),
        (("xray", "images"), 101, "the number of X-rays is 101"),
        (("xray", "age", "cells", "unknown"), None, "must have a reason exactly where it has a hidden count"),
        (("co_occurrence", 0, "images"), 2, "the pair Effusion and Mass is 2"),
        (
            ("policy",),
            {"smallest_count": 3, "round_to": 1},
            "has smallest_count 3, but the consortium asks for at least 5",
        ),
        (("findings", "Hernia"), {"cells": {}, "reason": None}, "the findings differ from the experiment's in Hernia"),
        (("cancer_classes", "cells"), {"normal": 0}, "the cancer classes differ"),
        (("xray", "intensity"), [0.0] * 32, "the intensities of X-rays are shares of 0, expected 1"),
    ],
)
def test_an_answer_that_breaks_the_policy_or_the_form_is_refused_by_name(experiment, path, value, words):
    answers = {"north": changed(*path, value=value), "st.mary": statistics()}
    gathered = gather_statistics(experiment, ("north", "st.mary"), answers)
    assert list(gathered.sites) == ["st.mary"]
    assert words in gathered.failures["north"]
    assert gathered.failures["north"].startswith("refused: ")


def test_the_server_needs_no_tensorflow():
    code = "import sys, fedthorax.server.statistics; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
