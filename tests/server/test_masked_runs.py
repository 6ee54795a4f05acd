"""Whole masked runs: the server's own rounds, hospitals that really mask, and a network of a few numbers."""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.client.masking import Masks
from fedthorax.client.site_store import SiteStore
from fedthorax.common.config.load import load_experiment
from fedthorax.common.disclosure.sentences import INSIDE, error_outside
from fedthorax.common.ground.audit import AuditLog, verify
from fedthorax.common.ground.events import EventLog, read_events
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.messages.message import failed
from fedthorax.common.messages.replies import DescribeReply, EvaluateReply, TrainReply
from fedthorax.common.messages.results import BranchCounts
from fedthorax.common.metrics.score_histogram import ScoreHistogram
from fedthorax.common.metrics.scores import Histograms
from fedthorax.common.training.branch_counts import branch_counts
from fedthorax.common.training.fit import FitReport
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.ledger import Ledger
from fedthorax.server.record import RunRecord
from fedthorax.server.rounds import Rounds

from ..told import changed, described, evaluated, read, trained
from .test_rounds import HEADS, SIZES, FakeCentral, FakeChannel, FakeLayout, telling

SITES = ("a", "b", "c", "d", "e")  # 4 of them must help to unmask a sum
PAIRS = dict(zip(SITES, (10, 31, 22, 4, 17), strict=True))


class Killed(BaseException):
    """The server's process ends here."""


class Hospital:
    """What of a site worker masking needs: its folder, and images that are counted and never seen."""

    def __init__(self, folder: Path, name: str, experiment):
        self.folder, self.name, self.experiment = folder, name, experiment
        self.masks, self.layout, self.changes = Masks(SiteStore(folder)), FakeLayout(), 1.0
        number = PAIRS[name]
        xray, ct = np.ones((number, 2), np.float32), np.zeros(number, np.int32)
        self.images = SiteImages(name, {"train": SplitImages(self._set(xray), self._set(ct))})

    def _set(self, targets) -> ImageSet:
        names = tuple(str(row) for row in range(len(targets)))
        return ImageSet(np.empty(0, np.uint8), targets, tuple(map(Path, names)), names, names)

    @property
    def pairs(self) -> int:
        return PAIRS[self.name]

    def answer(self, task):
        facts = {"site": task.site, "round": task.round, "task_id": task.id}
        masks = self.experiment.federation.secure_aggregation
        if task.kind == "describe":
            key = self.masks.run_key(task, self.experiment, self.images, self.pairs) if masks else None
            return DescribeReply(**facts, results=described(None if masks else self.pairs, run_key=key))
        if task.kind == "evaluate":
            return EvaluateReply(**facts, results=evaluated(0.5, task.splits))
        if task.kind == "unmask":
            return self.masks.unmask(task, self.experiment)
        moved = np.float32(self.changes * (1 + SITES.index(self.name)) / 7 / task.round)
        update = {segment: np.asarray(task.weights[segment] + moved, np.float32) for segment in HEADS}
        fitted = FitReport(1.0, 0.5, 0.5, self.pairs, 1, 1, 1.0)
        if not masks:
            counts = read(BranchCounts, **branch_counts(self.images.splits["train"], fitted))
            return TrainReply(**facts, results=trained(self.pairs, counts=counts), weights=update)
        self.masks.require(task, self.experiment, self.pairs)
        told, packed = self.masks.masked(
            task, self.experiment, self.layout, HEADS, task.weights, update, self.images, fitted
        )
        return TrainReply(**facts, results=changed(trained(self.pairs), train=None, masked=told), packed=packed)

    def lose_its_state(self) -> None:
        for file in self.folder.rglob("masking.json"):
            file.unlink()


class Line(FakeChannel):
    """To real hospitals. ``change(task, reply)`` may replace a reply; None makes it fail."""

    def __init__(self, hospitals, change=lambda task, reply: reply):
        super().__init__(change)
        self.hospitals = hospitals

    def answer(self, task):
        try:
            return self.hospitals[task.site].answer(task)
        except ValueError as error:
            return failed(task, error_outside(str(error)))


@pytest.fixture
def run(experiment_file, tmp_path):
    """Rounds of a masked run at ``tmp_path``, from a checkpoint on if there is a ``start``."""
    sets = [
        f"data.hospitals={{{', '.join(f'{site}: null' for site in SITES)}}}",
        "training.phases=[{rounds: 3, trainable: heads, learning_rate: 100.0, local_epochs: 1}]",
        "federation.min_sites=4",
    ]
    file = experiment_file()

    def build(*more, change=lambda task, reply: reply, start=None, masks=True, place="run"):
        experiment = load_experiment(file, [*sets, f"federation.secure_aggregation={str(masks).lower()}", *more])
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        channel = Line({site: Hospital(folder / site, site, experiment) for site in SITES}, change)
        if start is None:
            record = RunRecord.begun(experiment, "simulate", SITES, "run-1", "sha", {})
        else:
            record = RunRecord.resumed(SITES, start.record, "sha", {})
        layout = FakeLayout()
        network = SimpleNamespace(layout=layout, trained_segments=lambda trainable: HEADS, frozen=lambda scope: {})
        events, audit = EventLog(folder / "events.jsonl"), AuditLog(folder / "audit.jsonl")
        hospitals = Hospitals(
            experiment, SITES, channel, record, events, audit, Ledger(), layout.digest, experiment.model_dump_json()
        )
        central, checkpoints = FakeCentral(network), Checkpoints(folder / "checkpoints", keep=9)
        rest = (network, None, central, lambda: None, lambda: 1.0, start)
        return Rounds(hospitals, checkpoints, *rest, masking=folder / "masking")

    yield build
    for log in tmp_path.glob("*/audit.jsonl"):
        verify(log)


def plain(run, *more, absent=()):
    """The weights after a run without masks; ``absent`` are (round, site) without a part."""
    rounds = run(*more, change=without(*(("train", *each) for each in absent)), masks=False, place="plain")
    rounds.run()
    return rounds.network.layout.weights


def without(*absent):
    """Hospitals whose replies to ``(kind, round, site)`` do not come."""
    return lambda task, reply: None if (task.kind, task.round, task.site) in absent else reply


def same(rounds, other) -> bool:
    found = rounds.network.layout.weights
    return all(found[segment].tobytes() == other[segment].tobytes() for segment in HEADS)


def failures(rounds, number):
    return {entry["site"]: entry["reason"] for entry in rounds.record.rounds[number]["failures"]}


def who(rounds, number):
    return {site for site, entry in rounds.record.rounds[number]["sites"].items() if entry.get("masked")}


@pytest.mark.parametrize("weigh", ["pairs", "branches"])
@pytest.mark.parametrize("strategy", ["fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_masked_run_has_the_bits_of_a_plain_one(run, strategy, weigh):
    more = [f"federation.strategy={strategy}", f"federation.weigh_by={weigh}"]
    rounds = run(*more)
    rounds.run()
    assert same(rounds, plain(run, *more))
    assert all(who(rounds, number) == set(SITES) and not failures(rounds, number) for number in (1, 2, 3))
    assert {entry["train"] for each in rounds.record.rounds for entry in each["sites"].values()} == {None}


@pytest.mark.parametrize("weigh", ["pairs", "branches"])
@pytest.mark.parametrize("strategy", ["fedavg", "fedavgm", "fedadam"])
def test_momentum_moves_no_part_of_which_too_few_hospitals_are_left_to_be_summed(run, strategy, weigh, monkeypatch):
    monkeypatch.setitem(SIZES, "disease", 2)  # one value a finding
    monkeypatch.setitem(globals(), "HEADS", (*HEADS, "disease"))
    rounds = run(f"federation.strategy={strategy}", f"federation.weigh_by={weigh}", change=without(("train", 2, "c")))
    for site in "de":  # only a, b and c have labels of Mass
        rounds.hospitals.channel.hospitals[site].images.splits["train"].xray.targets[:, 1] = np.nan
    rounds.run()
    models = [rounds.checkpoints.load(number).weights["disease"] for number in range(4)]
    assert who(rounds, 2) == {*"abde"}
    moved = [(after != before).tolist() for before, after in itertools.pairwise(models)]
    assert moved == [[True, True], [True, False], [True, True]]


def test_where_too_few_have_anything_to_train_on_those_who_have_not_are_named(run, monkeypatch):
    for site in "ab":
        monkeypatch.setitem(PAIRS, site, 0)
    words = r"round 1 needs 4 hospitals, but 3 answered \(a: it has nothing to train on; b: it has nothing "
    with pytest.raises(RuntimeError, match=words):
        run().run()


def test_a_phase_of_which_too_few_hospitals_can_teach_anything_ends_with_that_word(run, monkeypatch):
    """Each of its rounds would be lost, and all hospitals named for it."""
    monkeypatch.setitem(globals(), "HEADS", ("cancer",))
    rounds = run()
    for site in "abc":
        rounds.hospitals.channel.hospitals[site].images.splits["train"].ct.targets[:] = -1
    with pytest.raises(RuntimeError, match="fewer than 3 hospitals contribute to cancer, which is all that the phase"):
        rounds.run()
    assert not failures(rounds, 1)


def test_what_too_few_hospitals_contribute_to_is_said_once_a_phase(run, tmp_path):
    rounds = run("federation.weigh_by=branches")
    for site in "abc":
        rounds.hospitals.channel.hospitals[site].images.splits["train"].ct.targets[:] = -1
    rounds.run()
    told = [event["text"] for event in read_events(tmp_path / "run" / "events.jsonl")[0] if event["kind"] == "note"]
    (words,) = (text for text in told if "stays as it was" in text)
    assert words.startswith("round 1: fewer than 3 hospitals contribute to cancer, so it stays as it was")


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
def test_weights_that_no_hospital_moves_keep_their_bits_masked_or_not(run, strategy):
    """Far below the grid of the sums; the others of the same segment are trained."""
    tiny, moved = np.array([3e-13, -4e-13], np.float32), []
    for masks in (True, False):
        rounds = run(f"federation.strategy={strategy}", masks=masks, place=f"tiny-{masks}")
        for hospital in rounds.hospitals.channel.hospitals.values():
            hospital.changes = np.array([1, 0], np.float32)
        layout = rounds.network.layout
        layout.write({"fusion": tiny, "cancer": tiny[::-1].copy()})
        rounds.run()
        assert layout.weights["fusion"][1].tobytes() == tiny[1].tobytes()
        assert layout.weights["cancer"][1].tobytes() == tiny[0].tobytes()
        moved.append((layout.weights["fusion"][0], layout.weights["cancer"][0]))
    assert moved[0] == moved[1]
    assert min(moved[0]) > 0.01


@pytest.mark.parametrize("sent", [False, True], ids=["before it masks", "after it has masked"])
def test_who_drops_out_of_message_1_is_unmasked_from_the_others_shares(run, sent):
    def change(task, reply):
        return None if (task.kind, task.round, task.site) == ("train", 2, "b") else reply

    rounds = run(change=change)
    if not sent:
        answer = rounds.hospitals.channel.answer
        rounds.hospitals.channel.answer = lambda task: (
            None if (task.kind, task.round, task.site) == ("train", 2, "b") else answer(task)
        )
    rounds.run()
    assert same(rounds, plain(run, absent=[(2, "b")]))
    assert failures(rounds, 2) == {"b": "no reply by the deadline"}
    assert who(rounds, 2) == {*"acde"}
    assert who(rounds, 3) == {*SITES}


def test_the_lead_hears_whose_sum_a_round_is_and_what_nobody_can_check_whenever_that_changes(run, tmp_path):
    run(
        "training.phases=[{rounds: 4, trainable: heads, learning_rate: 100.0}]", change=without(("train", 3, "b"))
    ).run()
    events = read_events(tmp_path / "run" / "events.jsonl")[0]
    told = [event["text"] for event in events if event.get("about") == "masks"]
    assert told == [
        f"round {number} is masked: the sum is of {names}, and nobody can see or check the update of one; roster: "
        "identities made up for a simulation"
        for number, names in ((1, "a, b, c, d, e"), (3, "a, c, d, e"), (4, "a, b, c, d, e"))
    ]


def test_score_histograms_are_pooled_under_masks_from_each_hospital_that_counts_what_it_may(run):
    """Masks hide how many images there are: a hospital can count as many as the lead allows to one."""

    def tell(task, reply):
        if task.kind != "evaluate":
            return reply
        absent = 10**6 if task.site == "c" else 5
        many = ScoreHistogram(bins=100, edges=(0, 40, 100), present=(0, 4), absent=(absent, 0))
        told = Histograms(disease={"Effusion": many, "Mass": None}, cancer={"normal": None, "tumour": None})
        return telling(reply, **{"valid_histograms" if task.splits == ("valid",) else "histograms": told})

    rounds = run("federation.largest_hospital=1000", change=tell)
    rounds.run()
    assert rounds.record.document["pooled"]["disease"]["Effusion"]["hospitals"] == ["a", "b", "d", "e"]
    assert {entry["site"] for entry in rounds.record.rounds[3]["warnings"]} == {"c"}
    assert all(who(rounds, number) == {*SITES} for number in (1, 2, 3))


def test_message_2_needs_the_threshold_and_no_more(run):
    rounds = run(change=without(("unmask", 2, "c")))
    rounds.run()
    assert same(rounds, plain(run))
    assert who(rounds, 2) == {*SITES}


def test_below_the_threshold_a_round_is_not_taken_and_the_run_goes_on_from_the_model_before(run):
    rounds = run(change=without(("unmask", 2, "c"), ("unmask", 2, "d")))
    rounds.run()
    reason = "its sum cannot be used: 3 hospitals gave a share of a's mask, 4 are needed"
    assert failures(rounds, 2)["a"] == f"it took part in round 2, whose model is not taken: {reason}"
    assert who(rounds, 2) == set()
    assert who(rounds, 3) == {*SITES}


def test_a_round_with_too_few_updates_ends_the_run_and_a_resumed_one_ends_the_round(run):
    rounds = run(change=without(("train", 2, "a"), ("train", 2, "e")))
    with pytest.raises(RuntimeError, match="round 2 needs 4 hospitals, but 3 answered"):
        rounds.run()
    again = run(start=rounds.checkpoints.load(1))
    again.run()
    assert same(again, plain(run))
    assert failures(again, 2) == {}


def killed(run, kind, number, after=0, sites=SITES, **more):
    """A run whose server ends when it has ``after`` replies to tasks of the kind in a round; its last checkpoint."""
    seen = []

    def change(task, reply):
        if (task.kind, task.round) == (kind, number):
            if len(seen) == after:
                raise Killed
            seen.append(task.site)
        return reply if task.site in sites else None

    rounds = run(change=change, **more)
    with pytest.raises(Killed):
        rounds.run()
    return rounds.checkpoints.load(number - 1)


@pytest.mark.parametrize(
    ("kind", "after"), [("train", 0), ("train", 3), ("unmask", 0), ("unmask", 2)], ids=lambda value: str(value)
)
def test_a_server_that_is_killed_goes_on_to_the_same_bits(run, kind, after):
    rounds = run(start=killed(run, kind, 2, after))
    rounds.run()
    assert same(rounds, plain(run))
    assert all(not failures(rounds, number) for number in (1, 2, 3))


def test_after_a_sum_was_closed_it_stays_the_sum_whoever_answers_now(run):
    rounds = run(start=killed(run, "unmask", 2, sites=("a", "b", "c", "d")))
    rounds.run()
    assert who(rounds, 1) == who(rounds, 2) == {*"abcd"}
    assert who(rounds, 3) == {*SITES}
    assert same(rounds, plain(run, absent=[(1, "e"), (2, "e")]))


def test_a_resumed_round_goes_on_without_a_hospital_that_is_away_and_later_with_it(run):
    away = without(("describe", 1, "e"), ("train", 2, "e"))
    rounds = run(start=killed(run, "train", 2, 3), change=away)
    rounds.run()
    assert who(rounds, 2) == {*"abcd"}
    assert who(rounds, 3) == {*"abcd"}  # it tells its key in that round
    assert failures(rounds, 3) == {"e": "joined in round 3; trains from the next round on"}
    assert same(rounds, plain(run, absent=[(2, "e"), (3, "e")]))


def test_a_hospital_that_lost_its_state_drops_out_and_comes_back_with_a_new_key(run):
    def change(task, reply):
        if (task.kind, task.round, task.site) == ("train", 1, "e"):
            rounds.hospitals.channel.hospitals["b"].lose_its_state()
        return reply

    rounds = run("training.phases=[{rounds: 4, trainable: heads, learning_rate: 1.0, local_epochs: 1}]", change=change)
    rounds.run()
    assert failures(rounds, 2)["b"] == "the round's keys lack this hospital's own, or have another in its place"
    assert failures(rounds, 3) == {"b": "joined in round 3; trains from the next round on"}
    assert [len(who(rounds, number)) for number in (1, 2, 3, 4)] == [5, 4, 4, 5]


def test_hospitals_that_masked_for_a_round_which_cannot_be_ended_go_on_with_the_next(run):
    """Two of five lost their state while the server was down: the three that masked answer for no other opening."""
    start = killed(run, "train", 2, 4)
    rounds = run(start=start)
    for site in "ab":
        rounds.hospitals.channel.hospitals[site].lose_its_state()
    rounds.run()
    reason = failures(rounds, 2)["c"]
    assert reason.endswith("it was opened before, and cannot be ended without a, b")
    assert (
        failures(rounds, 2)["a"] == "it was not there with this key when the round was opened; it goes on with the next"
    )
    assert who(rounds, 2) == set()
    assert who(rounds, 3) == {*SITES}


class TestAHospitalThatLies:
    """It ends in words, and in no model: what masks hide nobody can check, but what makes no sense is not taken."""

    def lying(self, run, lie, *more):
        rounds = run(*more)
        hospital = rounds.hospitals.channel.hospitals["b"]
        answer = hospital.answer
        hospital.answer = lambda task: lie(task, answer(task)) if task.round == 2 else answer(task)
        rounds.run()
        return rounds

    def test_with_wrong_shares_of_others_masks_is_named_and_spoils_nothing(self, run):
        def lie(task, reply):
            if task.kind != "unmask":
                return reply
            shares = tuple(changed(each, share="07" * 33) for each in reply.results.shares)
            return changed(reply, results=changed(reply.results, shares=shares))

        rounds = self.lying(run, lie)
        (warning,) = rounds.record.rounds[2]["warnings"]
        assert warning["site"] == "b"
        assert warning["reason"].startswith("shares that it gave do not belong to the masks")
        assert same(rounds, plain(run))

    def test_with_commitments_to_other_keys_costs_the_round_and_is_named(self, run):
        def lie(task, reply):
            if task.kind != "train":
                return reply
            told = reply.results.masked
            wrong = tuple(changed(each, commitment="07" * 32) for each in told.commitments)
            return changed(reply, results=changed(reply.results, masked=changed(told, commitments=wrong)))

        rounds = self.lying(run, lie)
        assert "the shares of b's mask do not give the key that was promised" in failures(rounds, 2)["a"]
        assert who(rounds, 2) == set()
        assert who(rounds, 3) == {*SITES}

    @pytest.mark.parametrize("weigh", ["pairs", "branches"])
    def test_with_weights_that_cannot_be_costs_the_round(self, run, weigh):
        def lie(task, reply):
            if task.kind != "train":
                return reply
            packed = {name: values.copy() for name, values in reply.packed.items()}
            for values in packed.values():
                values.view(np.uint64)[-1] -= np.uint64(10_000)  # the last word of a domain is a weight
            return changed(reply, packed=packed)

        rounds = self.lying(run, lie, f"federation.weigh_by={weigh}")
        assert "whose model is not taken: its sum cannot be used: " in failures(rounds, 2)["a"]
        assert who(rounds, 2) == set()

    def test_about_what_it_contributes_sends_words_that_are_refused(self, run):
        def lie(task, reply):
            return changed(reply, packed={"masked 0": np.zeros(8, np.uint8)}) if task.kind == "train" else reply

        rounds = self.lying(run, lie)
        assert failures(rounds, 2)["b"].startswith("refused: 8 bytes of masked words, expected")
        assert same(rounds, plain(run, absent=[(2, "b")]))


def test_a_refusal_says_outside_what_is_refused_and_inside_of_whom():
    inside = "south: a hospital of the round has another identity than the roster that is trusted"
    assert error_outside(inside) == inside.partition(": ")[2]
    assert error_outside("/home/x/p-1.png: cannot be read") == INSIDE


def test_what_a_hospital_remembers_holds_no_secret_of_a_run_that_is_over(run, tmp_path):
    rounds = run()
    rounds.run()
    hospital = rounds.hospitals.channel.hospitals["a"]
    (file,) = hospital.folder.rglob("masking.json")
    before = json.loads(file.read_text())
    task = next(task for task in rounds.hospitals.channel.tasks if (task.kind, task.site) == ("train", "a"))
    hospital.masks.end(task, hospital.experiment)
    after = json.loads(file.read_text())
    assert {after[name] != before[name] for name in ("key", "secret")} == {True}
    assert after["rounds"] == before["rounds"]
    with pytest.raises(ValueError, match="the round's keys lack this hospital's own"):
        hospital.answer(task)
