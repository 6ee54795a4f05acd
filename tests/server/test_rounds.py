"""The server's rounds with hospitals, network and central images that are a few numbers."""

import itertools
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax import __version__
from fedthorax.client.packed_update import pack_update
from fedthorax.client.segment_store import LackingSegmentsError, SegmentStore
from fedthorax.client.site_store import SiteStore
from fedthorax.common.config.federation import FederationConfig
from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.audit import AuditLog, verify
from fedthorax.common.ground.events import EventLog, read_events
from fedthorax.common.messages.message import failed
from fedthorax.common.messages.reading import read_reply, read_task
from fedthorax.common.messages.replies import DescribeReply, EvaluateReply, FinishReply, TrainReply
from fedthorax.common.messages.results import BranchCounts
from fedthorax.common.messages.sending import closed, num_bytes, to_flower
from fedthorax.common.messages.statistics import Table
from fedthorax.common.messages.tasks import sent_arrays
from fedthorax.common.metrics.operating import fixed_operating_points
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.common.metrics.scores import Histograms, Subgroups
from fedthorax.common.model.segments import SEGMENTS, Slot, segment_sha256
from fedthorax.common.wire.parcel import Cargo, pack_parcel
from fedthorax.server.broadcast import Broadcast
from fedthorax.server.channel import LateReply
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.held_segments import Holdings
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.ledger import Ledger
from fedthorax.server.record import RunRecord
from fedthorax.server.rounds import Rounds

from .. import told
from ..told import changed, described, evaluated, images, passport, read, trained

SITES = ("north", "south", "east")
HEADS = ("fusion", "cancer")
SIZES = {segment: 2 if segment in HEADS else 0 for segment in SEGMENTS}
BRANCHES = ("xray", "ct", "fusion", "xray_token", "ct_token", "cancer")
PAIRS = {"north": 10, "south": 30, "east": 20}  # south is the largest


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


class FakeLayout:
    sizes, digest = SIZES, "layout"
    slots = {segment: (Slot(f"{segment}/kernel", (size,), 0, size),) for segment, size in SIZES.items()}  # noqa: RUF012

    def __init__(self):
        self.weights = {segment: np.zeros(size, np.float32) for segment, size in SIZES.items()}

    def read(self):
        return dict(self.weights)

    def write(self, weights):
        self.weights |= weights

    def exact(self, segment):
        return ()

    def statistics(self, segment):
        return ()

    def batch_norm(self, segment):
        return ()

    def digest_of(self, segments):
        return f"layout of {len(segments)}"

    def check_sizes(self, weights):
        for segment, values in weights.items():
            if values.shape != (SIZES[segment],):
                raise ValueError(f"segment {segment}: expected {SIZES[segment]} values")

    def name_at(self, segment, index):
        return f"{segment}/kernel"


class FakeCentral:
    """Scores better the larger the first weight of ``fusion``."""

    def __init__(self, network):
        self.images = SimpleNamespace(splits={})
        self.all_digests, self.left_out, self.network = ("d0", "d1", "d2"), [], network

    def leave_out(self, overlaps):
        facts = {"split": "test", "modality": "ct"}
        self.left_out = [
            {"same_as_site": site, "file": str(position), **facts}
            for site, positions in sorted(overlaps.items())
            for position in positions
        ]

    def describe(self):
        return passport().model_dump(mode="json")

    def validate(self, network, store, keep, progress=None):
        return scores(float(network.layout.weights["fusion"][0]) / 100)

    def valid_in_use(self, network, store, progress=None):
        return "predictions"

    def operating_points(self, predictions, told=None):
        self.told = told
        return fixed_operating_points(("Mass",), ("normal", "tumour"), 0.5, "not chosen here")

    def final_test(self, network, store, points, progress=None):
        more = dict.fromkeys(("calibration", "subgroups", "intervals"))
        curves, patients = {"disease": {}, "cancer": {}}, {"xray": 9, "ct": 9}
        return {**scores(0.5), **more, "curves": curves, "patients": patients}, "predictions"

    def test_with_duplicates(self, clean, network, store, points, progress=None):
        return {task: scores(0.75)[task] for task in ("disease", "cancer")} if self.left_out else None


def scores(value: float) -> dict:
    return told.scores(value).model_dump(mode="json", exclude_unset=True)


class FakeChannel:
    """Hospitals that answer at once. ``change(task, reply)`` may replace a reply; None makes it fail."""

    def __init__(self, change=lambda task, reply: reply):
        self.change, self.tasks, self.bytes_sent, self.bytes_received, self.lates = change, [], 0, 0, []
        self.gathered = []

    def watch(self, notify):
        self.notify = notify

    def gather(self, required):
        self.gathered.append(required)
        return frozenset(SITES)

    def late(self):
        found, self.lates = self.lates, []
        return found

    def exchange(self, tasks, enough):
        for task in tasks:
            self.tasks.append(task)
            reply = self.change(task, self.answer(task))
            yield reply or failed(task, "no reply by the deadline")

    @staticmethod
    def answer(task):
        pairs = PAIRS.get(task.site, 10)
        facts = {"site": task.site, "round": task.round, "task_id": task.id}
        if task.kind == "finish":
            return FinishReply(**facts)
        if task.kind == "describe":
            overlap = (1,) if task.site == "north" else ()
            return DescribeReply(**facts, results=described(pairs, overlap, fingerprint=f"data of {task.site}"))
        if task.kind == "evaluate":
            return EvaluateReply(**facts, results=evaluated(0.5, task.splits))
        weights = {segment: task.weights[segment] + 1 for segment in HEADS}
        return TrainReply(**facts, results=trained(pairs), weights=weights)


def telling(reply, **results):
    """The reply with other results."""
    return changed(reply, results=changed(reply.results, **results))


@pytest.fixture
def make(experiment_file, tmp_path):
    """Rounds over a channel, with more settings of the experiment, or from a checkpoint on."""
    sets = [
        "data.hospitals={north: null, south: null, east: null}",
        "training.phases=[{rounds: 3, trainable: heads, learning_rate: 100.0, local_epochs: 1}]",
    ]
    file = experiment_file()

    def build(channel, *more, start=None, sites=SITES):
        experiment = load_experiment(file, [*sets, *more])
        if start is None:
            record = RunRecord.begun(experiment, "consortium", sites, "run-1", "sha", {})
        else:
            record = RunRecord.resumed(sites, start.record, "sha", {})
        layout = FakeLayout()
        network = SimpleNamespace(layout=layout, trained_segments=lambda trainable: HEADS, frozen=lambda scope: {})
        events, audit = EventLog(tmp_path / "events.jsonl"), AuditLog(tmp_path / "audit.jsonl")
        ledger = Ledger(start.acknowledged, start.egress_heads) if start else Ledger()
        holdings = Holdings(start.holdings if start else None)
        broadcast = Broadcast(experiment.federation.codec, layout.exact, start.broadcast if start else None)
        return Rounds(
            Hospitals(
                experiment, sites, channel, record, events, audit, ledger, layout.digest, "{}", holdings, broadcast
            ),
            Checkpoints(tmp_path / "checkpoints", keep=9),
            network,
            None,
            FakeCentral(network),
            lambda: None,
            lambda: 1.0,
            start,
        )

    yield build
    if (tmp_path / "audit.jsonl").exists():
        verify(tmp_path / "audit.jsonl")


def audited(rounds: Rounds, event: str) -> list[dict]:
    entries = map(json.loads, rounds.audit.path.read_text().splitlines())
    return [entry["facts"] for entry in entries if entry["event"] == event]


def notes(tmp_path) -> list[str]:
    return [event["text"] for event in read_events(tmp_path / "events.jsonl")[0] if event["kind"] == "note"]


def without(*absent):
    """Hospitals whose replies to ``(kind, round, site)`` do not come."""
    return lambda task, reply: None if (task.kind, task.round, task.site) in absent else reply


def test_three_hospitals_train_three_rounds_and_nobody_is_missing(make):
    rounds = make(FakeChannel())
    assert rounds.run() == "predictions"
    assert [entry["failures"] + entry["late"] + entry["warnings"] for entry in rounds.record.rounds] == [[]] * 4
    assert rounds.network.layout.weights["fusion"].tolist() == [3.0, 3.0]
    assert rounds.record.document["best_round"] == 3
    assert rounds.hospitals.channel.gathered == [3, 3, 3, 3]


def test_a_round_goes_on_with_the_quorum_and_names_the_largest_hospital_that_is_missing(make, tmp_path):
    rounds = make(FakeChannel(without(("train", 2, "south"))), "federation.min_sites=2")
    rounds.run()
    (failure,) = rounds.record.rounds[2]["failures"]
    assert failure == {"site": "south", "stage": "train", "reason": "no reply by the deadline"}
    assert "round 2 went on without south, the largest hospital" in notes(tmp_path)
    assert rounds.record.rounds[3]["failures"] == []  # it was asked again


def test_below_the_quorum_the_round_ends_with_the_reasons_and_waits_for_nobody_else(make):
    channel = FakeChannel(without(("train", 1, "north")))
    with pytest.raises(RuntimeError, match=r"round 1 needs 3 hospitals, but 0 answered \(north: no reply by the dead"):
        make(channel).run()
    assert [task.site for task in channel.tasks if task.kind == "train"] == ["north"]


def test_scores_by_subgroup_are_written_down_and_a_reply_that_tells_of_other_labels_is_refused(make):
    def tell(task, reply):
        if task.kind != "evaluate":
            return reply
        other = told.scores(0.5, ("Hernia",)) if task.site == "south" else told.scores(0.5)
        return telling(reply, subgroups=Subgroups(disease={}, cancer=None), valid=other)

    rounds = make(FakeChannel(tell))
    rounds.run()
    sites = rounds.record.document["sites"]
    assert sites["north"]["subgroups"] == {"disease": {}, "cancer": None}
    assert sites["south"]["subgroups"] is None
    for failure in rounds.record.rounds[3]["failures"]:  # of both splits
        assert failure["site"] == "south"
        assert failure["reason"] == "refused: the scores of valid are of Hernia, expected Effusion, Mass"


SPOILT = {  # what is put in place of the field
    "a number for a text": (("task_id",), 7),
    "a text for a number": (("results", "train", "pairs"), "30"),
    "a list for a mapping": (("results",), []),
    "a mapping for a list": (("lacking",), {}),
    "a missing key": (("results", "valid"), ...),
    "null": (("results", "train"), None),
    "NaN": (("results", "train", "seconds"), "@NaN@"),
    "Infinity": (("results", "valid", "loss"), "@Infinity@"),
    "1e400": (("results", "valid", "loss"), "@1e400@"),
    "a hundred thousand levels": (("results", "valid"), f"@{'[' * 100_000}@"),
    "five megabytes of text": (("results", "train", "pairs"), "y" * 5_000_000),
    "a name of five megabytes": (("results", "valid", "disease", "per_finding", "y" * 5_000_000), 1),
    "an unknown key": (("results", "train", "one_more"), 1),
    "a claim beyond arithmetic": (("results", "train", "pairs"), 10**400),
    "an error that is a number": (("error",), 5),
    "an error beside results": (("error",), "no"),
}


def spoilt(reply, place, value):
    """The reply as JSON, with another value at a place, or with nothing there (...)."""
    document = json.loads(closed(reply).text)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return re.sub(rb'"@(.*?)@"', rb"\1", json.dumps(document).encode())


@pytest.mark.parametrize("what", SPOILT)
def test_whatever_a_hospital_sends_instead_is_one_refused_reply_of_it_and_the_round_goes_on(make, tmp_path, what):
    def send(task, reply):
        if (task.kind, task.round, task.site) != ("train", 2, "south"):
            return reply
        try:  # as server/flower_channel.py does
            return read_reply(pack_parcel(spoilt(reply, *SPOILT[what]), Cargo.of(dict(reply.weights))), task)
        except ValueError as error:
            return failed(task, f"refused: {error}")

    rounds = make(FakeChannel(send), "federation.min_sites=2")
    assert rounds.run() == "predictions"
    assert [entry["failures"] for entry in rounds.record.rounds[:2]] == [[], []]
    (failure,) = rounds.record.rounds[2]["failures"]
    assert failure["site"] == "south"
    assert failure["reason"].startswith(("refused: not a reply", "refused: the reply does not say what was trained"))
    assert len(failure["reason"]) < 500
    assert failure["reason"].isprintable()
    assert rounds.record.rounds[3]["failures"] == []
    assert [entry["site"] for entry in audited(rounds, "reply refused")] == ["south"]


def test_a_hospital_that_comes_later_joins_and_trains_from_the_next_round_on(make):
    absent = without(("describe", 0, "east"))
    rounds = make(FakeChannel(absent), "federation.min_sites=2")
    rounds.run()
    asked = [(task.kind, task.round) for task in rounds.hospitals.channel.tasks if task.site == "east"]
    assert asked == [("describe", 0), ("describe", 1), ("train", 2), ("train", 3), *[("evaluate", 3)] * 2]
    assert [f["reason"] for f in rounds.record.rounds[1]["failures"]] == [
        "joined in round 1; trains from the next round on"
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights": {"fusion": vector(1, np.nan), "cancer": vector(1, 1)}}, "refused: the update holds 1 values that"),
        ({"weights": {"fusion": vector(1, 1)}}, "refused: the update holds fusion, expected cancer, fusion"),
        ({"weights": {"fusion": vector(1), "cancer": vector(1, 1)}}, "refused: segment fusion: expected 2 values"),
        ({"results": trained(31)}, "refused: the update weighs 31 pairs, but the hospital described only 30"),
    ],
)
def test_a_bad_update_is_left_out_and_recorded(make, changes, reason):
    def spoil(task, reply):
        return changed(reply, **changes) if (task.kind, task.round, task.site) == ("train", 1, "south") else reply

    rounds = make(FakeChannel(spoil), "federation.min_sites=2")
    rounds.run()
    (failure,) = rounds.record.rounds[1]["failures"]
    assert failure["reason"].startswith(reason)
    assert rounds.record.rounds[1]["sites"]["south"]["train"] is None
    assert np.isfinite(rounds.network.layout.weights["fusion"]).all()
    if reason.startswith("refused"):
        assert [facts["site"] for facts in audited(rounds, "reply refused")] == ["south"]


def test_the_run_keeps_the_version_that_each_hospital_says_it_runs(make):
    def patched(task, reply):
        newer = task.kind == "describe" and task.site == "east"
        return telling(reply, software_version=f"{__version__}.post1") if newer else reply

    rounds = make(FakeChannel(patched))
    rounds.run()
    told = {name: site["software_version"] for name, site in rounds.record.document["sites"].items()}
    assert told == {"north": __version__, "south": __version__, "east": f"{__version__}.post1"}


def test_another_version_does_not_take_part_and_hears_why(make):
    def old(task, reply):
        foreign = task.kind == "describe" and task.site == "east"
        return telling(reply, software_version="0.0.9") if foreign else reply

    rounds = make(FakeChannel(old), "federation.min_sites=2")
    rounds.run()
    assert rounds.record.rounds[0]["failures"][0]["reason"].startswith("runs FedThorax 0.0.9, but the server runs")
    assert not [task for task in rounds.hospitals.channel.tasks if task.site == "east" and task.kind == "train"]


TWO = ("federation.min_sites=2",)


def moved_by(change, site="south", number=1):
    """A hospital whose update moves every weight by ``change(weights)`` more."""

    def answer(task, reply):
        if (task.kind, task.round, task.site) != ("train", number, site):
            return reply
        return changed(reply, weights={segment: change(values) for segment, values in reply.weights.items()})

    return answer


ATTACKS = {
    "a hundredfold": lambda segment, values: values * 100,
    "a millionfold": lambda segment, values: values * 1_000_000,
    "not a number": lambda segment, values: values * np.float32(np.nan),
    "all zeros": lambda segment, values: values * 0,
    "signs turned": lambda segment, values: -values,
    "one layer alone": lambda segment, values: values * 100 if segment == "cancer" else values,
}


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("hospitals", [2, 3, 10])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_reaches_the_model_however_few_or_many_hospitals_there_are(make, attack, hospitals, number):
    sites = tuple(f"h{position}" for position in range(hospitals))

    def spoil(task, reply):
        if (task.kind, task.round, task.site) != ("train", number, "h1"):
            return reply
        return changed(reply, weights={name: ATTACKS[attack](name, found) for name, found in reply.weights.items()})

    phases = "training.phases=[{rounds: 3, trainable: heads, learning_rate: 1.0, local_epochs: 1}]"
    named = "data.hospitals={" + ", ".join(f"{site}: null" for site in sites) + "}"
    rounds = make(FakeChannel(spoil), named, phases, f"federation.min_sites={hospitals - 1}", sites=sites)
    rounds.network.layout.weights = {name: np.full(size, 5, np.float32) for name, size in SIZES.items()}
    rounds.run()
    failures = [
        (entry["round"], one["site"], one["stage"]) for entry in rounds.record.rounds for one in entry["failures"]
    ]
    assert failures == [(number, "h1", "update")]
    assert rounds.record.rounds[number]["sites"]["h1"]["update_norm"] is None
    assert [rounds.network.layout.weights[segment].tolist() for segment in HEADS] == [[8, 8]] * 2


def test_an_update_far_outside_the_others_is_put_aside_wherever_it_stands_in_the_order(make, tmp_path):
    for site in SITES:
        rounds = make(FakeChannel(moved_by(lambda values: values + 9, site)), *TWO)
        rounds.run()
        (failure,) = rounds.record.rounds[1]["failures"]
        assert failure["site"] == site
        assert "times as far as usual (median of 3); a factor of 5 is allowed" in failure["reason"]
        assert rounds.network.layout.weights["fusion"].tolist() == [3.0, 3.0]
        shutil.rmtree(tmp_path / "checkpoints")


def test_how_far_an_update_moved_is_taken_by_its_steps(make):
    """South moves 6.7 times as far, in two steps where the others have one: 4.7 times by their square root."""
    rounds = make(FakeChannel(moved_by(lambda values: values + np.float32(5.7))))
    rounds.run()
    assert rounds.record.rounds[1]["failures"] == []


@pytest.mark.parametrize(("size", "refused"), [(2, []), (1000, ["south"])])
def test_control_variates_far_longer_than_the_others_are_put_aside_with_their_update(make, size, refused):
    """One hospital would own the mean by which all correct their gradients from then on."""

    def gradients(task, reply):
        if task.kind != "train":
            return reply
        length = size if task.site == "south" else 1
        return changed(reply, beside={name: np.full(2, length, np.float32) for name in HEADS})

    rounds = make(FakeChannel(gradients), "federation.strategy=scaffold", *TWO)
    rounds.run()
    failures = rounds.record.rounds[1]["failures"]
    assert [failure["site"] for failure in failures] == refused
    assert all("beside its update is 1e+03 times as long as usual (median of 3)" in one["reason"] for one in failures)
    assert np.abs(rounds._strategy_state["fusion"]).max() <= 6  # three rounds


def test_or_it_is_averaged_with_a_warning(make, tmp_path):
    rounds = make(FakeChannel(moved_by(lambda values: values + 9)), "federation.unusual_updates=warn")
    rounds.run()
    (warning,) = rounds.record.rounds[1]["warnings"]
    assert warning["site"] == "south"
    assert rounds.network.layout.weights["fusion"][0] == pytest.approx(3 + 9 / 2)
    assert any(note.startswith("south: by its steps the update moves ") for note in notes(tmp_path))


def test_or_nobody_looks(make):
    rounds = make(FakeChannel(moved_by(lambda values: values * 100)), "federation.unusual_updates=off")
    rounds.run()
    assert rounds.record.rounds[1]["warnings"] + rounds.record.rounds[1]["failures"] == []


def test_a_hospital_with_much_of_the_weight_is_named_once(make, tmp_path):
    rounds = make(FakeChannel(), "federation.notable_share=0.4")
    rounds.run()
    assert [note for note in notes(tmp_path) if "weight" in note] == [
        "south: it has 50% of the round's weight: 30 of 60 pairs"
    ]
    rest = make(FakeChannel(), "federation.notable_share=0.4", start=rounds.checkpoints.load(1))
    rest.run()
    assert [len(entry["warnings"]) for entry in rest.record.rounds] == [0, 1, 0, 0]


def test_where_branches_are_weighed_by_images_those_that_are_trained_on_count_too(make, tmp_path):
    """South describes most X-rays, but has no label of most of them, and trains on no more than the others."""
    sizes = {"north": 8, "south": 600, "east": 8}
    weighed = {"north": 60, "south": 10, "east": 20}

    def answer(task, reply):
        if task.kind == "train":
            counts = dict.fromkeys(BRANCHES, 1) | {"xray": weighed[task.site], "findings": [1, 1]}
            return telling(trained_on(reply, 60), counts=read(BranchCounts, **counts))
        if task.kind != "describe":
            return reply
        return telling(reply, data=passport(60, train=images(max(60, sizes[task.site]), 60)))

    make(FakeChannel(answer), "federation.weigh_by=branches").run()
    assert [note for note in notes(tmp_path) if "weight" in note] == [
        "north: it has 67% of the round's weight by X-rays"
    ]


def trained_on(reply, pairs):
    return changed(reply, results=trained(pairs))


CT_HEAD = "training.phases=[{rounds: 1, trainable: heads}, {rounds: 2, trainable: parts, parts: {cancer: {}}}]"


def without_ct_labels(make, channel, *more):
    """Rounds of a network of which the second phase trains the head of the CT classes alone."""
    rounds = make(channel, CT_HEAD, *more)
    rounds.network.trained_segments = lambda scope: HEADS if scope == "heads" else ("cancer",)
    rounds.record.open_round(0, None)
    return rounds


def test_a_run_whose_later_phase_nobody_can_train_is_refused_before_its_first_round(make):
    channel = FakeChannel()
    words = r"^training\.phases trains cancer for 2 rounds, but no hospital has images with a label that would teach it"
    with pytest.raises(ValueError, match=words):
        without_ct_labels(make, channel)._meet()
    assert {task.kind for task in channel.tasks} == {"describe"}


def test_or_whose_hospitals_have_no_pair_at_all(make):
    def empty(task, reply):
        return telling(reply, data=passport(0)) if task.kind == "describe" else reply

    with pytest.raises(ValueError, match=r"^training\.phases trains fusion and heads, backbones frozen for 3 rounds"):
        make(FakeChannel(empty)).run()


def test_a_hidden_count_may_be_a_label_and_who_has_not_joined_may_have_some(make):
    def hides(task, reply):
        if (task.kind, task.site) != ("describe", "east"):
            return reply
        table = {"cells": {"normal": None, "tumour": 0, "unknown": 0}, "reason": "too few"}
        told = reply.results.statistics.model_copy(update={"cancer_classes": read(Table, **table)})
        return telling(reply, statistics=told)

    without_ct_labels(make, FakeChannel(hides))._meet()
    without_ct_labels(make, FakeChannel(without(("describe", 0, "east"))), *TWO)._meet()


def test_a_hospital_with_nothing_to_train_on_is_named_once_a_phase_and_again_where_that_changes(make, tmp_path):
    pairs = iter((0, 0, 20, 0, 0, 0))
    phases = "training.phases=[{rounds: 4, trainable: heads, learning_rate: 9.0}, {rounds: 2, trainable: heads}]"

    def idle(task, reply):
        if (task.kind, task.site) != ("train", "east"):
            return reply
        now = next(pairs)
        return changed(reply, results=trained(now), weights=reply.weights if now else {})

    make(FakeChannel(idle), phases, "federation.unusual_updates=off").run()
    told = [event for event in read_events(tmp_path / "events.jsonl")[0] if "nothing to train" in event.get("text", "")]
    assert [event["text"] for event in told] == ["east has nothing to train on in this phase and gives no update"] * 3


def test_a_hospital_that_says_it_holds_most_central_test_images_is_named(make, tmp_path):
    def holds_all(task, reply):
        claims = task.kind == "describe" and task.site == "east"
        return telling(reply, overlap=(0, 1, 2)) if claims else reply

    rounds = make(FakeChannel(holds_all))
    rounds.run()
    (warning,) = rounds.record.rounds[0]["warnings"]
    assert warning["site"] == "east"
    assert warning["reason"] == "it says that it holds 3 of the 3 central test images: these are scored apart"
    assert rounds.record.document["test_with_duplicates"] is not None


@pytest.mark.parametrize("claim", [10**9, 2**31 - 8])
def test_a_hospital_that_describes_more_pairs_than_the_lead_allows_does_not_join(make, claim):
    def boast(task, reply):
        if (task.kind, task.site) != ("describe", "east"):
            return reply
        return telling(reply, data=passport(claim))

    rounds = make(FakeChannel(boast), *TWO)
    rounds.run()
    assert rounds.record.rounds[0]["failures"][0]["reason"].startswith(f"it describes {claim} training pairs, but")
    assert {failure["site"] for entry in rounds.record.rounds for failure in entry["failures"]} == {"east"}


def test_a_model_without_a_finite_loss_is_not_taken_and_the_run_goes_on_from_the_one_before(make, monkeypatch):
    rounds = make(FakeChannel())
    honest = rounds.central.validate

    def broken_in_round_2(network, *rest):
        found = honest(network, *rest)
        return found | {"loss": float("nan")} if rounds.record.newest_round == 2 else found

    monkeypatch.setattr(rounds.central, "validate", broken_in_round_2)
    rounds.run()
    entry = rounds.record.rounds[2]
    assert entry["central"] is None
    assert [failure["site"] for failure in entry["failures"]] == sorted(SITES)
    assert entry["failures"][0]["reason"] == (
        "it took part in round 2, whose model is not taken: its loss on the central validation images is nan"
    )
    assert rounds.network.layout.weights["fusion"].tolist() == [2.0, 2.0]  # rounds 1 and 3
    assert rounds.record.document["best_round"] == 3
    assert rounds.record.newest_update("south", 2) == 1  # what a hospital keeps goes on from there


def test_three_such_rounds_in_a_row_end_the_run_with_everybody_named(make, monkeypatch):
    rounds = make(FakeChannel())
    honest = rounds.central.validate

    def broken(network, *rest):
        return honest(network, *rest) | ({"loss": float("inf")} if rounds.record.newest_round else {})

    monkeypatch.setattr(rounds.central, "validate", broken)
    with pytest.raises(RuntimeError, match=r"3 rounds in a row .* took part in the last: east, north, south\. Lower"):
        rounds.run()
    assert [entry["round"] for entry in rounds.record.rounds] == [0, 1, 2, 3]
    rest = make(FakeChannel(), start=rounds.checkpoints.load(2))  # as without a stop, rounds 1 and 2 count
    monkeypatch.setattr(rest.central, "validate", lambda *_: scores(0.5) | {"loss": float("inf")})
    with pytest.raises(RuntimeError, match=r"3 rounds in a row"):
        rest.run()


def test_a_resumed_run_goes_on_without_the_part_of_a_hospital_that_is_left_out(make):
    first = make(FakeChannel())
    first.run()
    again = make(FakeChannel(), start=first.checkpoints.load(1))
    again.leave_out = ("south",)
    again.run()
    trained = [(task.round, task.site) for task in again.hospitals.channel.tasks if task.kind == "train"]
    assert trained == [(2, "north"), (2, "east"), (3, "north"), (3, "south"), (3, "east")]
    assert again.hospitals.channel.gathered == [2, 2, 3]  # to go on, for round 2, for round 3
    (failure,) = again.record.rounds[2]["failures"]
    assert failure == {
        "site": "south",
        "stage": "train",
        "reason": "left out of this round by the lead (--leave-out)",
    }


def test_a_late_reply_is_recorded_in_the_round_in_which_it_came(make):
    channel = FakeChannel()
    rounds = make(channel)

    def late(task, reply):
        if (task.kind, task.round, task.site) == ("train", 3, "north"):
            old = next(one for one in channel.tasks if (one.kind, one.round, one.site) == ("train", 2, "south"))
            channel.lates.append(LateReply(old, False, 12.34))
        return reply

    channel.change = late
    rounds.run()
    entry = {"site": "south", "stage": "train", "round": 2, "duplicate": False, "seconds": 12.3}
    assert [entry["late"] for entry in rounds.record.rounds] == [[], [], [], [entry]]
    assert audited(rounds, "late reply")[0]["site"] == "south"


def test_heads_of_both_logs_are_exchanged_and_one_that_goes_back_is_refused(make):
    def with_head(task, reply):
        number = len([one for one in channel.tasks if one.site == task.site])
        cut = task.site == "south" and (task.kind, task.round) == ("train", 2)
        return changed(reply, egress_head="south 1" if cut else f"{task.site} {number}")

    channel = FakeChannel(with_head)
    rounds = make(channel, "federation.min_sites=2")
    rounds.run()
    (failure,) = rounds.record.rounds[2]["failures"]
    assert "refused: the hospital's log of what left it has gone back to an earlier head" in failure["reason"]
    first, second, *_ = (task for task in channel.tasks if task.site == "north")
    assert (first.egress_head, second.egress_head) == ("", "north 1")
    assert len(second.audit_head) == 64
    assert rounds.record.document["sites"]["north"]["egress_head"] == "north 6"
    assert audited(rounds, "egress head")[0] == {"site": "north", "head": "north 1"}


def test_a_task_says_what_has_arrived(make):
    rounds = make(FakeChannel())
    rounds.run()
    tasks = [task for task in rounds.hospitals.channel.tasks if task.site == "north"]
    assert [task.splits for task in tasks[-2:]] == [("valid",), ("test",)]  # of one round, which closes once
    for before, task in itertools.pairwise(tasks[:-1]):
        assert task.acknowledged == (before.id,)
    assert all(task.deadline > 0 and task.run == "run-1" for task in tasks)


def test_a_run_goes_on_from_a_checkpoint_as_if_it_had_not_been_stopped(make):
    whole = make(FakeChannel())
    whole.run()
    checkpoint = whole.checkpoints.load(1)
    channel = FakeChannel()
    rest = make(channel, start=checkpoint)
    rest.run()
    assert [(task.kind, task.round) for task in channel.tasks if task.site == "east"] == [
        ("describe", 1),
        ("train", 2),
        ("train", 3),
        ("evaluate", 3),
        ("evaluate", 3),
    ]
    whole_tasks = [task.id for task in whole.hospitals.channel.tasks]
    assert {task.id for task in channel.tasks if task.round > 1} <= {
        *whole_tasks
    }  # the same tasks, so that a hospital can answer from its store
    trained = next(
        task for task in whole.hospitals.channel.tasks if (task.kind, task.round, task.site) == ("train", 1, "east")
    )
    assert trained.id in channel.tasks[2].acknowledged
    assert rest.network.layout.weights["fusion"].tobytes() == whole.network.layout.weights["fusion"].tobytes()
    same = ("rounds", "best_round", "test", "central")
    for ours, theirs in zip(rest.record.rounds, whole.record.rounds, strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}
    assert {name: rest.record.document[name] for name in same[1:]} == {
        name: whole.record.document[name] for name in same[1:]
    }


def test_other_central_images_are_no_resumption(make):
    whole = make(FakeChannel())
    whole.run()
    checkpoint = whole.checkpoints.load(1)
    checkpoint.record["central"]["fingerprint"] = "of other images"
    with pytest.raises(ValueError, match=r"the images in data.central have changed since the run began"):
        make(FakeChannel(), start=checkpoint).run()


def test_changed_data_of_a_hospital_are_told(make, tmp_path):
    whole = make(FakeChannel())
    whole.run()
    checkpoint = whole.checkpoints.load(1)
    checkpoint.record["sites"]["east"]["fingerprint"] = "of other images"
    make(FakeChannel(), start=checkpoint).run()
    assert "east: its data have changed since the run began" in notes(tmp_path)


def test_a_hospital_that_has_not_come_back_after_a_resume_keeps_its_place_in_the_statistics(make):
    first = make(FakeChannel(), "federation.min_sites=2")
    first.run()
    away = FakeChannel(lambda task, reply: None if task.site == "east" else reply)
    rest = make(away, "federation.min_sites=2", start=first.checkpoints.load(1))
    rest.run()
    told = rest.record.document["statistics"]
    assert told["sites"] == first.record.document["statistics"]["sites"]
    assert told["duplicates"]["without_hashes"]["east"] == "not heard of since the run was resumed"


def test_the_last_model_is_scored_at_the_hospitals_also_where_another_was_selected(make):
    rounds = make(FakeChannel(), "evaluation.selection_metric=loss")
    rounds.central.validate = lambda network, *_: scores(1 / (1 + abs(float(network.layout.weights["fusion"][0]) - 2)))
    rounds.run()
    told = rounds.record.document
    assert (told["best_round"], rounds.record.newest_round) == (2, 3)
    assert all(told["rounds"][3]["sites"][site]["valid"] is not None for site in SITES)


def test_every_hospital_gets_both_models_and_only_its_own_results(make):
    channel = FakeChannel()
    rounds = make(channel, "evaluation.selection_metric=loss")
    rounds.central.validate = lambda network, *_: scores(1 / (1 + abs(float(network.layout.weights["fusion"][0]) - 2)))
    rounds.run()
    rounds.record.document["statistics"] = {"sites": {"north": {}, "south": {}}}
    by_site = {"disease": {"groups": {}}, "cancer": {"groups": {}}}
    figures = {"present": 7, "absent": 8, "roc_auc": None, "pr_auc": None, "calibration_error": None, "reason": None}
    of_two, of_all, of_another = (
        {"Mass": {**figures, "hospitals": sites}} for sites in (["north", "south"], list(SITES), ["east"])
    )
    rounds.record.document["pooled"] = {"bins": 9, "disease": of_two, "cancer": of_all, "by_site": by_site}
    label = {"threshold": 0.5, "method": "youden", "positives": 7, "negatives": 8}
    points = rounds.record.document["operating_points"]
    points["disease"] = {"Mass": {**label, "hospitals": of_another["Mass"]["hospitals"]}}
    rounds.deliver()
    finish = [task for task in channel.tasks if task.kind == "finish" and task.site == "south"]
    assert [(task.outcome.models, task.round) for task in finish] == [(("best",), 2), (("last",), 3)]
    assert [task.weights["fusion"].tolist() for task in finish] == [[2.0, 2.0], [3.0, 3.0]]
    metrics = finish[0].outcome.metrics
    assert (metrics.status, list(metrics.sites)) == ("finished", ["south"])
    assert {name for entry in metrics.rounds for name in entry.sites} == {"south"}
    assert (metrics.statistics, metrics.pooled.bins, metrics.pooled.by_site) == (None, 9, None)
    # Of north and south, south would be told the rest.
    assert (metrics.pooled.disease["Mass"].present, metrics.pooled.cancer["Mass"].present) == (None, 7)
    assert metrics.pooled.disease["Mass"].reason == "of one other hospital, whose figures these would show"
    assert (metrics.operating_points.disease["Mass"].threshold, metrics.operating_points.disease["Mass"].positives) == (
        0.5,
        None,
    )
    assert metrics.central.left_out == ()  # the one left out is north's
    assert finish[0].outcome.facts.findings
    assert [facts["models"] for facts in audited(rounds, "models delivered") if facts["site"] == "south"] == [
        ["best"],
        ["last"],
    ]


def test_a_model_that_is_best_and_last_is_sent_once(make):
    channel = FakeChannel()
    rounds = make(channel)
    rounds.run()
    rounds.deliver()
    assert [task.outcome.models for task in channel.tasks if task.kind == "finish"] == [("best", "last")] * 3


def test_a_hospital_that_does_not_take_a_model_is_one_failure_of_the_last_round_and_not_asked_for_the_other(make):
    channel = FakeChannel(lambda task, reply: None if (task.kind, task.site) == ("finish", "east") else reply)
    rounds = make(channel)
    rounds.run()
    rounds.record.document["best_round"] = 2
    rounds.deliver()
    asked = [(task.round, task.site) for task in channel.tasks if task.kind == "finish"]
    assert asked == [(2, "north"), (2, "south"), (2, "east"), (3, "north"), (3, "south")]
    assert [(failure["site"], failure["stage"]) for failure in rounds.record.rounds[3]["failures"]] == [
        ("east", "finish")
    ]


def of_split(images):
    return dict.fromkeys(("xray", "ct", "xray_patients", "ct_patients"), images)


def histogram(present, absent):
    return ScoreHistogram(bins=100, edges=(0, 40, 100), present=(0, present), absent=(absent, 0))


def test_thresholds_are_chosen_on_what_hospitals_tell_of_their_validation_images(make):
    """South counts more images than it has described: neither its validation nor its test images are in."""
    splits = {name: of_split(9) for name in ("train", "valid", "test")}

    def tell(task, reply):
        if task.kind != "evaluate":
            return telling(reply, data=passport(PAIRS[task.site], **splits)) if task.kind == "describe" else reply
        many = histogram(4, 10**6 if task.site == "south" else 5)
        told = Histograms(disease={"Effusion": many, "Mass": None}, cancer={"normal": None, "tumour": None})
        name = "valid_histograms" if task.splits == ("valid",) else "histograms"
        return telling(reply, **{name: told})

    rounds = make(FakeChannel(tell))
    rounds.run()
    assert [(label, list(by_site)) for label, by_site in rounds.central.told.items()] == [
        (("disease", "Effusion"), ["east", "north"])
    ]
    assert rounds.record.document["pooled"]["disease"]["Effusion"]["hospitals"] == ["east", "north"]
    assert rounds.record.rounds[3]["sites"]["north"]["valid"]["disease"]["macro"]["roc_auc"] == 0.5  # of the last round
    assert {(one["site"], one["reason"][:33]) for one in rounds.record.rounds[3]["warnings"]} == {
        ("south", "its valid images have no part in "),
        ("south", "its test images have no part in c"),
    }
    assert all(task.operating_points for task in rounds.hospitals.channel.tasks if task.kind == "evaluate")


def test_a_hospital_is_not_sent_again_what_it_holds(make):
    """``ct.projection`` stands for a frozen segment: it is the same in every round."""
    channel = FakeChannel()
    rounds = make(channel)
    rounds.run()
    work = [task for task in channel.tasks if task.site == "north" and task.weights]
    assert work[0].held == ()
    for task in work[1:-1]:
        assert {"ct.projection", "xray.backbone"} <= set(task.held)
        assert set(task.held).isdisjoint(HEADS)
    assert set(HEADS) <= set(work[-1].held)  # the test is of the model whose validation images were asked for


def test_a_resumed_run_knows_what_the_hospitals_hold(make):
    whole = make(FakeChannel())
    whole.run()
    channel = FakeChannel()
    make(channel, start=whole.checkpoints.load(1)).run()
    first = next(task for task in channel.tasks if task.kind == "train")
    assert "xray.backbone" in first.held


def test_a_hospital_that_lacks_what_its_task_left_out_has_done_nothing(make):
    def lacking(task, reply):
        lost = (task.kind, task.round, task.site) == ("train", 2, "south")
        return TrainReply(site=task.site, round=2, lacking=("ct.backbone",)) if lost else reply

    rounds = make(FakeChannel(lacking), "federation.min_sites=2")
    rounds.run()
    assert rounds.record.rounds[2]["failures"][0]["reason"] == "the hospital lacks ct.backbone of the model"


def test_a_hospital_without_ct_gets_and_gives_only_what_it_has(make):
    """Plain averaging counts it as a vote for the CT encoder that there is; see test_branchwise for the other way."""

    def only_xray(task, reply):
        if task.site == "south" and task.kind == "describe":
            return telling(reply, data=passport(30, ("xray",)))
        return reply

    channel = FakeChannel(only_xray)
    rounds = make(channel, "model.absent=token", "federation.weigh_by=pairs")
    rounds.run()
    sent = {task.site: set(task.weights) for task in channel.tasks if task.kind == "train"}
    assert sent["north"] - sent["south"] == {"ct.backbone", "ct.projection"}
    layouts = {task.site: task.layout for task in channel.tasks if task.kind == "train"}
    assert layouts == {"north": "layout", "east": "layout", "south": "layout of 5"}
    assert [entry["failures"] for entry in rounds.record.rounds] == [[]] * 4


def test_who_has_nothing_to_train_on_is_none_of_the_hospitals_that_krum_needs(make):
    def change(task, reply):
        idle = (task.kind, task.site) == ("train", "east")
        return changed(reply, results=trained(0), weights={}) if idle else reply

    krum = ("federation.strategy=krum", "federation.strategy_settings.malicious_sites=0")
    words = "round 1: federation.strategy krum needs the updates of 3 hospitals, but only 2 have anything to train on"
    with pytest.raises(RuntimeError, match=words):
        make(FakeChannel(change), *krum).run()
    make(FakeChannel(change)).run()


def test_momentum_goes_on_after_a_resume_as_if_nothing_had_happened(make):
    whole = make(FakeChannel(), "federation.strategy=fedavgm")
    whole.run()
    plain = whole.network.layout.weights["fusion"]
    rest = make(FakeChannel(), "federation.strategy=fedavgm", start=whole.checkpoints.load(1))
    rest.run()
    assert plain[0] == pytest.approx(1 + 1.9 + 2.71)
    assert rest.network.layout.weights["fusion"].tobytes() == plain.tobytes()


AVERAGED = "training.phases=[{rounds: 3, trainable: heads, learning_rate: 100.0, average_last: 2}]"


def test_the_last_model_of_a_phase_is_the_mean_of_its_last_rounds_also_after_a_resume(make):
    whole = make(FakeChannel(), AVERAGED)
    whole.run()
    assert whole.checkpoints.load(2).weights["fusion"].tolist() == [2.0, 2.0]
    assert whole.checkpoints.load(3).weights["fusion"].tolist() == [2.5, 2.5]
    rest = make(FakeChannel(), AVERAGED, start=whole.checkpoints.load(2))
    rest.run()
    assert rest.network.layout.weights["fusion"].tobytes() == vector(2.5, 2.5).tobytes()


BY_PARTS = (
    "training.phases=[{rounds: 4, trainable: parts, parts: {cancer: {}, fusion: {}}, part_patience: 1, "
    "learning_rate: 100.0}]"
)


def trained_by_parts(make, values, *more, start=None):
    """Hospitals that train two parts; the central figures of the rounds are ``values``."""

    def two(task, reply):
        if task.kind != "train":
            return reply
        return changed(reply, weights={name: task.weights[name] + 1 for name in PARTS if name not in task.stopped})

    rounds = make(FakeChannel(two), BY_PARTS, *more, start=start)
    rounds.network.trained_segments = lambda scope: tuple(name for name in PARTS if name in dict(scope.factors))
    came = iter(values)
    rounds.central.validate = lambda *_: scores(next(came))
    rounds.run()
    return rounds


PARTS = ("fusion", "cancer")


def test_a_part_that_has_had_enough_goes_back_to_its_best_round_and_the_others_go_on_also_after_a_resume(
    make, tmp_path
):
    whole = trained_by_parts(make, [0.5, 0.6, 0.5, 0.7, 0.8])
    weights = whole.network.layout.weights
    assert (weights["fusion"][0], weights["cancer"][0]) == (4, 1)
    told = {task.round: task.stopped for task in whole.hospitals.channel.tasks if task.kind == "train"}
    assert told == {1: (), 2: (), 3: ("cancer",), 4: ("cancer",)}
    assert [tuple(entry["phase"]["parts"]) for entry in whole.record.rounds[1:]] == 2 * [PARTS[::-1]] + 2 * [
        ("fusion",)
    ]
    assert "cancer is trained no longer: no better round since round 1, to which it returns" in notes(tmp_path)
    rest = trained_by_parts(make, [0.7, 0.8], start=whole.checkpoints.load(2))
    for part in PARTS:
        assert rest.network.layout.weights[part].tobytes() == weights[part].tobytes()


LOOSE = ("federation.unusual_factor=100",)  # these hospitals move the weights by very different amounts


class PackingChannel(FakeChannel):
    """Hospitals that read their tasks as they come over the wire, train towards 1, and pack what they send."""

    def __init__(self, folder, codec="int4", lost=(), **arguments):
        super().__init__(**arguments)
        self.folder, self.lost = folder, lost  # (round, hospital, folder) of what is lost before a task
        self.federation = FederationConfig(codec=codec)

    def answer(self, task):
        for number, site, name in self.lost:
            if task.kind == "train" and (number, site) == (task.round, task.site):
                shutil.rmtree(self.folder / site / name)
        reply = FakeChannel.answer(task)
        if task.kind == "describe":
            return reply
        store = SegmentStore(self.folder / task.site / "segments")
        while True:
            parcel = closed(task, Cargo.of(sent_arrays(task)))
            self.bytes_sent += num_bytes(to_flower(parcel))
            arrived = read_task(parcel)
            try:
                start = store.complete(arrived, SIZES)
                break
            except LackingSegmentsError as error:
                packed = {name: data for name, data in task.packed.items() if name not in error.segments}
                held = tuple(name for name in task.held if name not in error.segments)
                task = changed(task, held=held, packed=packed)
        if task.kind != "train":
            return reply
        goal = np.linspace(0.9, 1.1, 2, dtype=np.float32) * PAIRS[task.site]
        trained = {name: start[name] + np.float32(0.3) * (goal - start[name]) for name in HEADS}
        kept = SiteStore(self.folder / task.site / "own")
        update = pack_update(self.federation, arrived, start, trained, FakeLayout(), kept)
        sent = changed(telling(reply, residual_lost=update.residual_lost), packed=update.packed, weights={})
        return read_reply(closed(sent), task)


def packed_run(make, channel, *more, start=None):
    rounds = make(
        channel, f"federation.codec={channel.federation.codec}", "federation.min_sites=2", *LOOSE, *more, start=start
    )
    rounds.run()
    assert all(entry["failures"] == [] for entry in rounds.record.rounds)
    return rounds


def final(rounds) -> bytes:
    return b"".join(rounds.network.layout.weights[name].tobytes() for name in HEADS)


def test_packed_without_loss_the_model_is_the_mean_of_what_was_trained(make, tmp_path):
    bare = packed_run(make, PackingChannel(tmp_path / "lossless", "lossless"))
    goals = sum(PAIRS[site] ** 2 for site in SITES) / sum(PAIRS.values())
    expected = [goals * share * (1 - 0.7**3) for share in (0.9, 1.1)]
    assert bare.network.layout.weights["fusion"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("codec", "close"), [("int8", 0.01), ("int4", 0.1)])
def test_rounded_the_model_is_near_the_exact_one_and_the_hospitals_hold_it(make, tmp_path, codec, close):
    exact = packed_run(make, PackingChannel(tmp_path / "exact", "lossless"))
    rounded = packed_run(make, PackingChannel(tmp_path / codec, codec))
    assert final(rounded) != final(exact)
    assert rounded.network.layout.weights["fusion"] == pytest.approx(exact.network.layout.weights["fusion"], rel=close)
    digest = segment_sha256(rounded.network.layout.weights["fusion"])
    assert all((tmp_path / codec / site / "segments" / f"fusion-{digest}.f32").is_file() for site in SITES)


def test_after_the_first_round_only_differences_go_down(make, tmp_path):
    channel = PackingChannel(tmp_path)
    packed_run(make, channel)
    training = [task for task in channel.tasks if task.kind == "train" and task.site == "north"]
    assert training[0].packed == {}
    assert [set(task.packed) for task in training[1:]] == [set(HEADS)] * 2


def test_a_hospital_that_has_lost_the_model_gets_it_once_more_and_no_bit_changes(make, tmp_path):
    undisturbed, lost = PackingChannel(tmp_path / "a"), PackingChannel(tmp_path / "b", lost=[(2, "south", "segments")])
    assert final(packed_run(make, lost)) == final(packed_run(make, undisturbed))
    assert lost.bytes_sent > undisturbed.bytes_sent


def test_a_hospital_that_has_lost_what_was_left_out_says_so_and_counts(make, tmp_path):
    rounds = packed_run(make, PackingChannel(tmp_path, lost=[(3, "south", "own")]))
    assert rounds.record.rounds[3]["warnings"][0]["site"] == "south"
    assert "lost what rounding left out of its earlier updates" in rounds.record.rounds[3]["warnings"][0]["reason"]


def test_a_hospital_that_missed_a_round_goes_on_from_its_last_update_that_counted(make, tmp_path):
    away = PackingChannel(tmp_path, change=without(("train", 2, "south")))
    rounds = make(away, "federation.codec=int4", "federation.min_sites=2", *LOOSE)
    rounds.run()
    last = next(task for task in away.tasks if (task.kind, task.round, task.site) == ("train", 3, "south"))
    assert last.own_round == 1
    assert set(last.packed) == set(HEADS)
    assert rounds.record.rounds[3]["warnings"] == []


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_resumed_run_with_rounded_updates_has_the_same_bits(make, tmp_path, after):
    whole = packed_run(make, PackingChannel(tmp_path / "hospitals"))
    bits, checkpoint = final(whole), whole.checkpoints.load(after)
    rest = packed_run(make, PackingChannel(tmp_path / "hospitals"), start=checkpoint)
    assert final(rest) == bits


def test_a_damaged_packed_update_is_refused_by_segment_and_the_round_goes_on(make, tmp_path):
    def damage(task, reply):
        if (task.kind, task.round, task.site) != ("train", 2, "south"):
            return reply
        data = reply.packed["fusion"].copy()
        data[-1] ^= 1
        return changed(reply, packed={**reply.packed, "fusion": data})

    rounds = make(PackingChannel(tmp_path, change=damage), "federation.codec=int4", "federation.min_sites=2", *LOOSE)
    rounds.run()
    (failure,) = rounds.record.rounds[2]["failures"]
    assert failure["reason"].startswith("refused: segment fusion: at byte 0: damaged, its checksum is")
