"""Requests for messages that wait at the gateway, in this process, before a SuperLink that is a function."""

import asyncio
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from fedthorax.server.consortium import bell as bell_module
from fedthorax.server.consortium import gateway
from fedthorax.server.consortium.bell import Bell, ReplyWatch
from fedthorax.server.consortium.gateway import PULL_PATH, Gateway
from fedthorax.server.consortium.object_desk import ObjectDesk

NOTHING, MAIL = b"", b"a message"


def answer_of(body):
    """As it comes over a wire: not read yet."""
    return httpx.Response(200, headers={"content-length": str(len(body))}, stream=httpx.ByteStream(body))


class Everybody:
    """Members, with all hospitals admitted until ``revoked``; ``calls`` counts those that they took."""

    revoked, calls = False, 0

    def identify(self, headers, method, path, taken=False):
        self.calls += not taken
        if self.revoked:
            raise PermissionError("the key was revoked")
        return "anna", ""


class Served:
    """A gateway; ``mail`` is what the SuperLink has for a hospital, and ``looks`` counts how often it was asked."""

    def __init__(self, tmp_path):
        self.bell, self.replies, self.members = Bell(tmp_path / "mail.bell"), Bell(tmp_path / "reply.bell"), Everybody()
        self.mail, self.looks, self.closing, self.hung_up = NOTHING, 0, False, asyncio.Event()
        self.gateway = Gateway(
            "thorax",
            "link",
            False,
            self.members,
            2**20,
            self.bell,
            self.replies,
            ObjectDesk(tmp_path),
            lambda: self.closing,
        )
        self.gateway._client = httpx.AsyncClient(transport=httpx.MockTransport(self.superlink), base_url="https://link")

    def superlink(self, request):
        self.looks += 1
        assert request.content == b"node 1"
        return answer_of(self.mail)

    async def pull(self, path=PULL_PATH):
        """Status and body of the answer to a hospital's request, for messages; None where it has hung up."""
        scope = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": b""}
        scope["state"] = {"connection": SimpleNamespace(known=False)}
        given, answer = [{"type": "http.request", "body": b"node 1"}], []

        async def receive():
            if given:
                return given.pop()
            await self.hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            answer.append(message)

        await self.gateway(scope | {"method": "POST", "headers": []}, receive, send)
        if not answer:
            return None
        return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])

    async def until_asked(self, times=1):
        while self.looks < times:
            await asyncio.sleep(0.001)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Nothing ends a wait by itself: HOLD and LOOK are longer than a test may take."""
    monkeypatch.setattr(gateway, "HOLD_SECONDS", 600.0)
    monkeypatch.setattr(gateway, "LOOK_SECONDS", 600.0)
    return Served(tmp_path)


def within(seconds, test):
    return asyncio.run(asyncio.wait_for(test, seconds))


def test_a_message_that_is_there_is_given_at_once(served):
    served.mail = MAIL
    assert within(30, served.pull()) == (200, MAIL)
    assert served.looks == 1


def test_all_hospitals_that_wait_are_answered_when_the_bell_rings(served):
    async def two():
        waiting = [asyncio.create_task(served.pull()) for _ in range(2)]
        await served.until_asked(2)
        await asyncio.sleep(0.2)  # several looks at the bell: nobody has been answered by them
        assert not any(one.done() for one in waiting)
        served.mail = MAIL
        served.bell.ring()
        return await asyncio.gather(*waiting)

    assert within(30, two()) == [(200, MAIL), (200, MAIL)]
    assert served.looks == 4


def test_a_ring_between_the_look_and_the_wait_is_heard(served):
    def superlink(request):
        served.looks += 1
        if served.looks == 1:
            served.bell.ring()  # the message came just after this look
            return answer_of(NOTHING)
        return answer_of(MAIL)

    served.gateway._client = httpx.AsyncClient(transport=httpx.MockTransport(superlink), base_url="https://link")
    assert within(30, served.pull()) == (200, MAIL)


def test_a_bell_that_is_never_rung_costs_seconds_and_no_message(served, monkeypatch):
    monkeypatch.setattr(gateway, "LOOK_SECONDS", 0.01)

    async def one():
        waiting = asyncio.create_task(served.pull())
        await served.until_asked(3)
        served.mail = MAIL
        return await waiting

    assert within(30, one()) == (200, MAIL)
    assert served.members.calls == 1  # each look after the first is of a call that is in, and not a replay


def test_a_hospital_without_a_message_is_answered_before_its_patience_ends(served, monkeypatch):
    monkeypatch.setattr(gateway, "HOLD_SECONDS", 0.05)
    assert within(30, served.pull()) == (200, NOTHING)


def test_nothing_is_taken_for_a_hospital_that_has_hung_up(served):
    async def one():
        waiting = asyncio.create_task(served.pull())
        await served.until_asked()
        served.mail = MAIL
        served.hung_up.set()
        return await waiting

    assert within(30, one()) is None
    assert served.looks == 1


def test_a_hospital_that_is_revoked_while_it_waits_gets_nothing(served):
    async def one():
        waiting = asyncio.create_task(served.pull())
        await served.until_asked()
        served.members.revoked, served.mail = True, MAIL
        served.bell.ring()
        return await waiting

    status, body = within(30, one())
    assert status == 401
    assert MAIL not in body


def test_a_gateway_that_ends_keeps_nobody_waiting(served):
    async def one():
        waiting = asyncio.create_task(served.pull())
        await served.until_asked()
        served.closing = True
        return await waiting

    assert within(30, one()) == (200, NOTHING)


def test_the_server_is_told_when_something_of_a_reply_has_come(served):
    within(30, served.pull("/v1/fleet/push-object"))
    assert served.replies.last_ring()


@pytest.mark.parametrize("call", ["send-node-heartbeat", "push-messages"])
def test_nobody_is_told_of_other_calls_nor_of_a_reply_s_announcement_before_any_of_it_is_there(served, call):
    within(30, served.pull(f"/v1/fleet/{call}"))
    assert not served.replies.last_ring()


def ring_later(bell, seconds):
    threading.Timer(seconds, bell.ring).start()


def test_the_server_looks_when_a_reply_has_come_and_not_in_the_middle_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(bell_module, "_WITHOUT_RING_SECONDS", 600.0)
    monkeypatch.setattr(bell_module, "_QUIET_SECONDS", 0.5)
    bell = Bell(tmp_path / "reply.bell")
    bell.ring()
    watch, begun = ReplyWatch(bell), time.monotonic()
    for piece in (0.1, 0.3, 0.5):
        ring_later(bell, piece)
    watch.wait(600.0)
    assert time.monotonic() - begun > 0.9  # the last piece, and a silence
    assert watch._heard == bell.last_ring()


def test_a_reply_that_came_while_the_server_was_busy_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(bell_module, "_WITHOUT_RING_SECONDS", 600.0)
    bell = Bell(tmp_path / "reply.bell")
    bell.ring()
    watch = ReplyWatch(bell)
    bell.ring()
    watch.wait(600.0)  # returns
    assert watch._heard == bell.last_ring()


def test_where_nobody_rings_the_server_looks_as_often_as_it_says(tmp_path, monkeypatch):
    monkeypatch.setattr(bell_module, "_WITHOUT_RING_SECONDS", 600.0)
    ReplyWatch(Bell(tmp_path / "reply.bell")).wait(0.01)  # returns


def test_a_ring_that_a_full_disk_has_swallowed_is_no_error(tmp_path):
    bell = Bell(tmp_path / "gone" / "mail.bell")  # cannot be written, whoever runs this
    bell.ring()
    assert bell.last_ring() == 0


def test_every_ring_is_another_one(tmp_path):
    bell = Bell(tmp_path / "mail.bell")
    heard = [bell.last_ring()]
    for _ in range(100):
        bell.ring()
        heard.append(bell.last_ring())
    assert heard[0] == 0
    assert len(set(heard)) == 101
    assert heard[-1] <= time.time_ns()
