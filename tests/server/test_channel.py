from types import SimpleNamespace

import pytest
from flwr.app import Error, Message
from flwr.supercore.task_identity import TaskIdentity

from fedthorax.common.messages import Reply, Task, encode
from fedthorax.server.channel import FlowerChannel, Interrupted


class FakeGrid:
    """Nodes that answer as ``answer(task number)`` says: a RecordDict, an Error, or None for never."""

    def __init__(self, nodes, answer):
        self.nodes, self.answer, self.pushed, self.waiting = nodes, answer, [], {}

    def get_node_ids(self):
        return self.nodes

    def push_messages(self, messages):
        ids = []
        for message in messages:
            number = len(self.pushed)
            self.pushed.append(message.metadata.dst_node_id)
            content = self.answer(number)
            if content is not None:
                self.waiting[f"m{number}"] = content
            ids.append(f"m{number}")
        return ids

    def pull_messages(self, ids):
        ready = [i for i in ids if i in self.waiting][-1:]  # the newest first, one at a time
        return [self._message(i, self.waiting.pop(i)) for i in ready]

    @staticmethod
    def _message(reply_to, content):
        failed = isinstance(content, Error)
        return SimpleNamespace(
            metadata=SimpleNamespace(reply_to_message_id=reply_to),
            has_error=lambda: failed,
            error=content if failed else None,
            content=None if failed else content,
        )


@pytest.fixture(autouse=True)
def inside_a_run(monkeypatch):
    """Flower's messages ask in which run they are made."""
    for name, value in (("_run_id", 1), ("_node_id", 1), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)


TASKS = [Task("train", site, 2, "{}") for site in ("north", "south", "east")]


def channel(answer, nodes=(11, 12, 13), **settings) -> FlowerChannel:
    return FlowerChannel(
        FakeGrid(list(nodes), answer), timeout_s=settings.pop("timeout_s", 5.0), poll_s=0.001, **settings
    )


def good(number: int):
    return encode(Reply("train", TASKS[number].site, 2, {"n": number}, num_pairs=number))


def test_replies_come_as_they_arrive():
    replies = list(channel(good).exchange(TASKS))
    assert [reply.site for reply in replies] == ["east", "south", "north"]
    assert all(reply.error is None for reply in replies)


def test_bytes_are_counted_both_ways():
    flower = channel(good)
    list(flower.exchange(TASKS))
    assert flower.bytes_sent > 3 * len("{}")
    assert flower.bytes_received > 0


def test_fewer_nodes_than_hospitals_take_turns():
    flower = channel(good, nodes=(11, 12))
    assert len(list(flower.exchange(TASKS))) == 3
    assert flower.grid.pushed == [11, 12, 11]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (Error(code=2, reason="out of memory"), "Flower reports: out of memory"),
        (Error(code=2), "Flower reports: error 2"),
        (encode(Reply("train", "west", 2)), "the reply claims to be train of west in round 2"),
        (encode(Reply("train", "south", 1)), "the reply claims to be train of south in round 1"),
        (encode(TASKS[0]), "a reply of another version of FedThorax"),
        (encode(Reply("train", "south", 2, error="no such folder: /data")), "no such folder: /data"),
    ],
)
def test_a_bad_reply_becomes_a_failure_of_that_hospital_with_its_reason(content, reason):
    replies = channel(lambda number: content if number == 1 else good(number)).exchange(TASKS)
    errors = {reply.site: reply.error for reply in replies}
    assert errors["south"].startswith(reason)
    assert (errors["north"], errors["east"]) == (None, None)


def test_a_hospital_that_never_answers_is_named_after_the_timeout():
    replies = channel(lambda number: good(number) if number else None, timeout_s=0.05).exchange(TASKS)
    assert {reply.site: reply.error for reply in replies} == {
        "east": None,
        "south": None,
        "north": "no reply within 0.05 s",
    }


def test_without_a_node_the_wait_ends():
    with pytest.raises(TimeoutError, match="no Flower node has connected within 0 s"):
        list(channel(good, nodes=(), node_wait_s=0).exchange(TASKS))


def test_a_stop_ends_the_wait_for_replies():
    with pytest.raises(Interrupted):
        list(channel(lambda _: None, stopped=lambda: True).exchange(TASKS))


def test_a_task_travels_as_a_flower_message():
    assert Message(encode(TASKS[0]), 11, "train").metadata.message_type == "train"
