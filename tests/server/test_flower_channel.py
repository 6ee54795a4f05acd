import time
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supercore.task_identity import TaskIdentity

from fedthorax.common.messages.message import Task
from fedthorax.common.messages.reading import read_task
from fedthorax.common.messages.replies import DecisionReply, PresentReply, TrainReply
from fedthorax.common.messages.results import Decided
from fedthorax.common.messages.sending import closed, from_flower, to_flower
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.segments import segment_sha256
from fedthorax.common.wire.segment import pack_exactly, unpack
from fedthorax.server.channel import Interrupted, Passing
from fedthorax.server.consortium.objects import ObjectStore, note_passing
from fedthorax.server.flower_channel import FlowerChannel
from fedthorax.server.nodes import Node, in_turn

from ..told import changed, trained

SITES = ("north", "south", "east")
GONE = Error(code=ErrorCode.NODE_UNAVAILABLE, reason="Node Unavailable")
CRASHED = Error(code=ErrorCode.CLIENT_APP_CRASHED, reason="out of memory")


class FakeGrid:
    """Nodes that answer as ``answer(site, number of times that its task was sent)`` says: a RecordDict, an Error, or
    None for never. ``connected`` may be changed while tasks are on their way; a node is named by its hospital.
    ``idle(site)`` says whether it answers a question (kind present), which a hospital at work does not.
    ``decisions`` are what hospitals answer, one after the other, when they are asked whether a person has decided."""

    def __init__(self, answer, connected=SITES, idle=lambda site: False):
        self.idle, self.asked, self.decisions = idle, [], []
        self.answer, self.connected = answer, {site: Node(number) for number, site in enumerate(connected, start=11)}
        self.sent, self.messages, self.waiting, self.pulled_at_once = [], [], {}, 0
        self.looks = 0  # how often was asked who is connected
        self.at_look = {}  # look number → what happens then

    def get_nodes(self):
        self.looks += 1
        self.at_look.get(self.looks, lambda: None)()
        return [SimpleNamespace(node_id=node.id, site=site, node=node) for site, node in self.connected.items()]

    def push_messages(self, messages):
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            site = next(site for site, one in self.connected.items() if one.id == node)
            if (question := decode_task(message.content)).kind == "decision":
                ids.append(f"d{len(self.decisions)}")
                told = {"site": site, "round": question.round, "task_id": question.id}
                if (answer := self.decisions.pop(0)) is not None:
                    told |= {"results": Decided(decided=answer)}
                    self.waiting[ids[-1]] = (node, encode(DecisionReply(**told)))
                continue
            if question.kind == "present":
                self.asked.append(site)
                ids.append(f"q{len(self.asked)}")
                if self.idle(site):
                    self.waiting[ids[-1]] = (node, encode(PresentReply(site=site, round=question.round)))
                continue
            self.sent.append(site)
            self.messages.append(message)
            content = self.answer(site, self.sent.count(site))
            ids.append(f"m{len(self.sent)}")
            if content is not None:
                self.waiting[ids[-1]] = (node, content)
        return ids

    def pull_messages(self, ids):
        self.pulled_at_once = max(self.pulled_at_once, len(ids))
        return [self._message(i, *self.waiting.pop(i)) for i in ids if i in self.waiting]

    @staticmethod
    def _message(reply_to, node, content):
        failed = isinstance(content, Error)
        return SimpleNamespace(
            metadata=SimpleNamespace(reply_to_message_id=reply_to, src_node_id=node),
            has_error=lambda: failed,
            error=content if failed else None,
            content=None if failed else content,
        )


@pytest.fixture(autouse=True)
def inside_a_run(monkeypatch):
    """Flower's messages ask in which run they are made."""
    for name, value in (("_run_id", 1), ("_node_id", 1), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)


TASKS = {site: TrainTask(site=site, round=2, run="r") for site in SITES}


def encode(message):
    return to_flower(closed(message))


def decode_task(record) -> Task:
    return read_task(from_flower(record))


def good(site: str, _: int = 1, **changes):
    told = {"error": None} if {"error", "lacking", "undecided"} & changes.keys() else {"results": trained(7)}
    return encode(TrainReply(**{"site": site, "round": 2, "task_id": TASKS[site].id} | told | changes))


def channel(answer=good, connected=SITES, idle=lambda site: False, **settings) -> FlowerChannel:
    grid = FakeGrid(answer, connected, idle)
    timing = {"poll_s": 0.001, "node_poll_s": 0.001, "retry_s": 0.001, "connect_timeout_s": 0.05}
    return FlowerChannel(grid, SITES, lambda nodes: {one.site: one.node for one in nodes}, **timing | settings)


def exchange(
    flower: FlowerChannel, enough=lambda: False, deadline_s: float = 60.0, sites=SITES
) -> dict[str, str | None]:
    """Hospital to error, in the order of arrival."""
    tasks = [changed(TASKS[site], deadline=time.time() + deadline_s) for site in sites]
    return {reply.site: reply.error for reply in flower.exchange(tasks, enough)}


def test_every_hospital_gets_its_task_and_answers():
    flower = channel()
    assert exchange(flower) == dict.fromkeys(SITES)
    assert sorted(flower.grid.sent) == sorted(SITES)


def test_each_task_tells_the_head_that_the_consortiums_log_has_when_it_is_sent():
    heads = iter("abc")
    flower = channel(consortium_head=lambda: next(heads))
    exchange(flower)
    assert sorted(decode_task(message.content).consortium_head for message in flower.grid.messages) == ["a", "b", "c"]


def test_replies_come_as_they_arrive_and_one_at_a_time():
    flower = channel(lambda site, _: None if site == "north" else good(site))
    flower.grid.at_look = {3: lambda: flower.grid.waiting.update(m1=(11, good("north")))}
    assert list(exchange(flower)) == ["south", "east", "north"]
    assert flower.grid.pulled_at_once == 1


def test_bytes_are_counted_both_ways():
    flower = channel()
    exchange(flower)
    assert flower.bytes_sent > 3 * len("{}")
    assert flower.bytes_received > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (good("north"), "refused: the reply claims to be train of north in round 2"),
        (good("south", round=1), "refused: the reply claims to be train of south in round 1"),
        (good("south", task_id="ab"), "refused: the reply answers another task"),
        (encode(TASKS["south"]), "refused: not a reply of this version of FedThorax: run: Extra inputs are not"),
        (good("south", error="no such folder: /data"), "no such folder: /data"),
    ],
)
def test_a_bad_reply_becomes_a_failure_of_the_hospital_that_sent_it(content, reason):
    flower = channel(lambda site, _: content if site == "south" else good(site))
    errors = exchange(flower)
    assert errors.pop("south").startswith(reason)
    assert set(errors.values()) == {None}
    assert flower.grid.sent.count("south") == 1  # the answer was clear; asking again would change nothing


def test_a_reply_from_another_node_than_the_hospitals_is_refused():
    flower = channel(lambda site, _: None)
    flower.grid.at_look = {
        3: lambda: flower.grid.waiting.update({f"m{n}": (13, good(s)) for n, s in enumerate(SITES, 1)})
    }
    errors = exchange(flower)
    assert errors["north"] == "refused: the reply comes from node 13, not 11"
    assert errors["east"] is None


def test_a_task_that_flower_lost_is_sent_again_and_counts_once():
    flower = channel(lambda site, times: GONE if site == "south" and times < 5 else good(site))
    assert exchange(flower) == dict.fromkeys(SITES)
    assert flower.grid.sent.count("south") == 5


def test_a_task_that_got_lost_without_a_word_is_sent_again_once_the_hospital_says_that_it_has_nothing_to_do():
    flower = channel(
        lambda site, times: None if site == "south" and times < 3 else good(site),
        idle=lambda _: True,
        ask_after_s=0.001,
    )
    states = []
    flower.watch(lambda site, state: states.append(state) if site == "south" else None)
    assert exchange(flower) == dict.fromkeys(SITES)
    assert flower.grid.sent.count("south") == 3
    assert states == ["working", "lost", "working", "lost", "working", "replied"]
    assert {decode_task(message.content).id for message in flower.grid.messages[-1:]} == {TASKS["south"].id}


def test_a_hospital_at_work_is_asked_ever_less_often_and_gets_its_task_once():
    flower = channel(lambda site, _: None if site == "south" else good(site), ask_after_s=0.01)
    errors = exchange(flower, deadline_s=1.0)
    assert errors["south"] == "no reply by the deadline; the task was sent"
    assert flower.grid.sent.count("south") == 1
    assert 2 <= flower.grid.asked.count("south") <= 7  # after 0.01, 0.03, 0.07, ... s


def test_an_answer_to_the_question_that_comes_with_the_reply_sends_nothing_again():
    flower = channel(lambda site, _: None if site == "south" else good(site), ask_after_s=0.001)
    grid, number, pull = flower.grid, SITES.index("south") + 1, flower.grid.pull_messages

    def both_arrive_after_the_look_at_the_reply(ids):
        found = pull(ids)
        if ids == [f"m{number}"] and not found and grid.asked:
            answer = encode(PresentReply(site="south", round=2))
            grid.waiting |= {f"q{len(grid.asked)}": (12, answer), f"m{number}": (12, good("south"))}
        return found

    grid.pull_messages = both_arrive_after_the_look_at_the_reply
    assert exchange(flower) == dict.fromkeys(SITES)
    assert grid.sent.count("south") == 1


def test_a_hospital_that_waits_for_a_person_is_shown_so_and_gets_its_task_again_once_somebody_has_decided():
    flower = channel(lambda site, times: good(site, undecided=True) if site == "south" and times < 2 else good(site))
    flower.grid.decisions = [False, False, True]
    states = []
    flower.watch(lambda site, state: states.append(state) if site == "south" else None)
    assert exchange(flower) == dict.fromkeys(SITES)
    assert states == ["working", "approval", "working", "replied"]
    assert flower.grid.decisions == []
    assert flower.grid.sent.count("south") == 2


def test_a_hospital_where_nobody_decides_is_left_out_at_the_deadline_with_that_reason():
    flower = channel(lambda site, _: good(site, undecided=True) if site == "south" else good(site))
    flower.grid.decisions = [None]
    errors = exchange(flower, deadline_s=0.3)
    reason = "no reply by the deadline; a person there has not agreed yet (fedthorax site approve)"
    assert errors == {"north": None, "east": None, "south": reason}
    assert flower.grid.sent.count("south") == 1


def test_a_simulation_asks_nobody():
    flower = channel(lambda site, _: None if site == "south" else good(site), idle=lambda _: True)
    assert exchange(flower, deadline_s=0.3)["south"] is not None
    assert flower.grid.asked == []


def test_a_crash_at_the_hospital_is_tried_again_but_not_for_ever():
    flower = channel(lambda site, times: CRASHED if site == "south" and times < 3 else good(site))
    assert exchange(flower) == dict.fromkeys(SITES)
    flower = channel(lambda site, _: CRASHED if site == "south" else good(site))
    assert exchange(flower)["south"] == "Flower reports: out of memory (3 times)"


def test_a_node_that_starts_again_gets_its_task_again_and_the_second_reply_counts_for_nothing():
    flower = channel(lambda site, times: good(site) if site != "south" or times > 1 else None)

    def restart():
        flower.grid.connected["south"] = Node(12, "started again")

    flower.grid.at_look = {3: restart}
    assert exchange(flower) == dict.fromkeys(SITES)
    assert flower.grid.sent.count("south") == 2
    flower.grid.waiting["m2"] = (12, good("south"))  # the first one comes as well, in a later exchange
    exchange(flower)
    (late,) = flower.late()
    assert (late.task.site, late.task.round, late.duplicate) == ("south", 2, True)
    assert flower.late() == []


def test_a_reply_after_the_deadline_is_known_as_late_and_not_mixed_in():
    flower = channel(lambda site, _: None if site == "south" else good(site))
    assert exchange(flower, deadline_s=0.05)["south"] == "no reply by the deadline; the task was sent"
    flower.grid.waiting["m2"] = (12, good("south"))
    assert exchange(flower, sites=("north", "east")) == dict.fromkeys(("north", "east"))
    (late,) = flower.late()
    assert (late.task.site, late.task.kind, late.duplicate) == ("south", "train", False)


@pytest.mark.parametrize(
    ("node", "content", "problem"),
    [
        (13, good("south"), "comes from node 13, not 12"),
        (12, RecordDict(), "cannot be read: "),
    ],
)
def test_a_late_reply_that_would_have_been_refused_is_told_all_the_same(node, content, problem):
    flower = channel(lambda site, _: None if site == "south" else good(site))
    exchange(flower, deadline_s=0.05)
    flower.grid.waiting["m2"] = (node, content)
    exchange(flower, sites=("north", "east"))
    (late,) = flower.late()
    assert (late.task.site, late.duplicate) == ("south", False)
    assert late.problem.startswith(problem)


def test_with_enough_replies_a_hospital_that_is_away_is_not_waited_for_until_the_deadline():
    flower = channel(connected=("north", "south"))
    assert exchange(flower, enough=lambda: True)["east"] == "not connected for 0.05 s"


def test_without_enough_replies_a_hospital_that_is_away_is_waited_for():
    flower = channel(connected=("north", "south"))
    flower.grid.at_look = {200: lambda: flower.grid.connected.update(east=Node(13))}
    assert exchange(flower) == dict.fromkeys(SITES)
    assert flower.grid.looks >= 200


def test_a_connected_hospital_that_works_is_waited_for_whoever_is_away():
    flower = channel(lambda site, _: None if site == "south" else good(site), connected=("north", "south"))
    flower.grid.at_look = {200: lambda: flower.grid.waiting.update(m2=(12, good("south")))}
    assert exchange(flower, enough=lambda: True)["south"] is None


def test_a_run_begins_when_enough_hospitals_are_connected():
    flower = channel(connected=("north",))
    flower.grid.at_look = {4: lambda: flower.grid.connected.update(east=Node(13))}
    assert flower.gather(2) == {"north", "east"}


def test_the_wait_for_hospitals_ends_and_names_who_is_missing():
    words = r"1 of the 2 hospitals needed .* after 0 s .*; not connected: south, east"
    with pytest.raises(TimeoutError, match=words):
        channel(connected=("north",), connect_timeout_s=0.0).gather(2)


def test_a_stop_ends_the_wait_for_replies_and_for_hospitals():
    with pytest.raises(Interrupted):
        exchange(channel(lambda *_: None, stopped=lambda: True))
    with pytest.raises(Interrupted):
        channel(connected=(), stopped=lambda: True).gather(1)


def test_the_state_of_every_hospital_is_told():
    flower = channel(connected=("north", "south"), answer=lambda site, _: good(site) if site == "north" else None)
    told = []
    flower.watch(lambda site, state: told.append((site, state)))
    exchange(flower, deadline_s=0.05)
    states = {site: [state for one, state in told if one == site] for site in SITES}
    assert states == {"north": ["working", "replied"], "south": ["working", "missing"], "east": ["waiting", "missing"]}


def test_fewer_nodes_than_hospitals_take_turns_and_keep_their_hospitals():
    recognise = in_turn(SITES)
    assert recognise([]) == {}
    nodes = [SimpleNamespace(node_id=number) for number in (12, 11)]
    assert {site: node.id for site, node in recognise(nodes).items()} == {"north": 11, "south": 12, "east": 11}
    assert recognise([*nodes, SimpleNamespace(node_id=10)]) == recognise(nodes)


def test_a_task_travels_as_a_flower_message():
    assert Message(encode(TASKS["north"]), 11, "train").metadata.message_type == "train"


HEAVY = {"ct.backbone": np.zeros(1000, np.float32), "fusion": np.ones(2, np.float32)}


def held_task() -> Task:
    sha256 = {name: segment_sha256(values) for name, values in HEAVY.items()}
    return changed(TASKS["south"], weights=HEAVY, sha256=sha256, held=("ct.backbone",), deadline=time.time() + 60)


def sent_segments(flower: FlowerChannel) -> list[set[str]]:
    return [set(decode_task(message.content).weights) for message in flower.grid.messages]


def test_what_the_hospital_holds_is_left_out_and_what_it_has_lost_is_sent_once_more():
    flower = channel(lambda site, times: good(site, lacking=("ct.backbone",)) if times == 1 else good(site))
    (reply,) = flower.exchange([held_task()], lambda: False)
    assert reply.error is None
    assert reply.lacking == ()
    assert sent_segments(flower) == [{"fusion"}, {"ct.backbone", "fusion"}]


def test_a_hospital_that_lacks_what_was_sent_is_not_asked_for_ever():
    flower = channel(lambda site, _: good(site, lacking=("ct.backbone",)))
    (reply,) = flower.exchange([held_task()], lambda: False)
    assert reply.error == "lacks ct.backbone of the model, which were sent"
    assert len(flower.grid.sent) == 2


def test_a_difference_whose_base_is_lost_is_replaced_by_the_whole_segment_packed():
    base = HEAVY["ct.backbone"] + np.float32(1)
    frame = pack_exactly(HEAVY["ct.backbone"], base, segment_sha256(base))
    flower = channel(lambda site, times: good(site, lacking=("ct.backbone",)) if times == 1 else good(site))
    task = changed(held_task(), held=(), packed={"ct.backbone": frame}, packs=True)
    (reply,) = flower.exchange([task], lambda: False)
    assert reply.error is None
    first, second = (decode_task(message.content) for message in flower.grid.messages)
    assert first.packed["ct.backbone"].tobytes() == frame.tobytes()
    assert unpack(second.packed["ct.backbone"], {}.get, 1000).tobytes() == HEAVY["ct.backbone"].tobytes()
    assert first.weights == second.weights == {}


def delivers(store, undelivered=()):
    """Hospitals whose carriers bring updates to ``store``, beside messages that hold none."""

    def answer(site, _):
        asked = TASKS_OF_OBJECTS[site]
        reply = closed(TrainReply(site=site, round=2, task_id=asked.id, results=trained(7), weights=CHANGED))
        (up,) = store.glob(f"{asked.run}/*/{asked.id}/up")
        for entry, view in zip(reply.contents.segments, reply.data, strict=True):
            if site not in undelivered:
                (up / entry.sha256).write_bytes(view)
        return to_flower(reply.without_data())

    return answer


MODEL = {"disease": np.arange(1000, dtype=np.float32)}
CHANGED = {"disease": MODEL["disease"] + 1}
TASKS_OF_OBJECTS = {site: TrainTask(site=site, round=2, run="0" * 32, weights=MODEL) for site in SITES}


def test_weights_travel_beside_the_messages_and_are_gone_when_the_round_is_closed(tmp_path):
    flower = channel(delivers(tmp_path, undelivered=("south",)), objects=ObjectStore(tmp_path))
    replies = {reply.site: reply for reply in flower.exchange(list(TASKS_OF_OBJECTS.values()), lambda: False)}
    for site in ("north", "east"):
        assert np.array_equal(replies[site].weights["disease"], CHANGED["disease"])
    assert replies["south"].error == "refused: segment disease was not delivered"
    assert all(from_flower(message.content).num_bytes < 2000 for message in flower.grid.messages)
    assert flower.bytes_sent > 3 * 4000  # what hospitals fetch counts
    assert flower.bytes_received > 2 * 4000
    assert flower.grid.pulled_at_once == len(SITES)  # a question of its own for each of 64 hospitals takes seconds
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["0" * 32 + ".lock"]
    flower.objects.end()
    assert list(tmp_path.iterdir()) == []


def test_how_far_a_hospital_is_is_told_when_it_has_changed(tmp_path):
    flower = channel(lambda site, _: None, objects=ObjectStore(tmp_path))
    told, asked = [], TASKS_OF_OBJECTS["north"]
    flower.watch(lambda site, state: told.append(state) if isinstance(state, Passing) else None)

    def notes(*moments):
        (place,) = tmp_path.glob(f"{asked.run}/*/{asked.id}")
        note_passing(place, *moments)

    flower.grid.at_look = {2: lambda: notes("fetch", 5, 9), 6: lambda: notes("send", 1, 9)}
    flower.grid.at_look[9] = lambda: flower.grid.waiting.update(m1=(11, delivers(tmp_path)("north", 1)))
    assert [reply.error for reply in flower.exchange([asked], lambda: False)] == [None]
    assert told == [Passing("fetch", 5, 9), Passing("send", 1, 9)]
    flower.objects.end()


def test_a_message_without_its_weights_is_refused_where_they_travel_in_messages():
    light = closed(TrainReply(site="north", round=2, task_id=TASKS["north"].id, results=trained(7), weights=CHANGED))
    told = exchange(channel(lambda *_: to_flower(light.without_data())), sites=("north",))
    assert told == {"north": "refused: its 1 segments did not come with it"}
