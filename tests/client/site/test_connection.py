"""What a hospital is told of its way to the server."""

import threading
from collections.abc import Iterator

import pytest

from fedthorax.client.site import connection as module
from fedthorax.client.site.connection import REFUSED, Connection


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def connection(told: list[str]) -> Connection:
    return Connection("fl.example.org:8443", told.append, threading.Event())


def test_the_servers_reason_is_said_once_and_not_with_every_try(connection: Connection, told: list[str]) -> None:
    for _ in range(1000):
        connection.take(f"{REFUSED}the hospital's clock is 20 s ahead of the server's, more than 5 s: set it (NTP)")
        connection.take("INFO :      SuperNode terminated gracefully.")
        assert connection.explains("supernode ended with exit status 0: INFO; it is started again in 1 s")
    assert told == [
        "fl.example.org:8443: not let in: the hospital's clock is 20 s ahead of the server's, more than 5 s: set it "
        "(NTP); tries go on"
    ]
    connection.take("INFO :      SuperNode ID: 7")
    assert told[1:] == ["fl.example.org:8443: connected; this hospital is asked once the lead starts a run"]
    assert not connection.explains("supernode was ended by SIGKILL; it is started again in 1 s")


def test_where_the_superlink_alone_answers_its_few_words_are_spelled_out(
    connection: Connection, told: list[str]
) -> None:
    connection.take(f"{REFUSED}Invalid SuperNode authentication")
    assert "does not belong to an admitted hospital, or the clock is wrong" in told[0]


def test_the_connection_that_a_killed_supernode_left_is_named_and_a_second_machine_once_it_stays(
    connection: Connection, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    for _ in range(3):
        connection.take("[code: 2004] Failed to activate SuperNode.")
        now[0] += 50
    assert len(told) == 1
    assert "lets go within about a minute" in told[0]
    connection.take("[code: 2004] Failed to activate SuperNode.")
    assert "another SuperNode is connected with this hospital's key" in told[1]
    connection.take("INFO :      SuperNode ID: 7")
    connection.take("[code: 2004] Failed to activate SuperNode.")
    assert "lets go within about a minute" in told[3]


def test_a_line_that_breaks_off_ends_the_supernode_without_a_word_of_its_own(
    connection: Connection, told: list[str]
) -> None:
    end = "supernode ended with exit status 1: timed out; it is started again in 1 s"
    connection.take("INFO :      SuperNode ID: 7")
    assert not connection.explains(end)
    connection.take("ERROR :     SSL/TLS handshake error detected.")
    assert connection.explains(end)
    connection.take("INFO :      SuperNode ID: 7")
    assert not connection.explains(end)
    assert len(told) == 1


def test_the_end_of_a_supernode_that_was_asked_to_end_is_no_news(told: list[str]) -> None:
    stop = threading.Event()
    stop.set()
    Connection("x:1", told.append, stop).take("SuperNode terminated gracefully.")
    assert told == []


def test_a_server_that_is_away_for_long_is_said_once_and_its_return_once(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.is_set())
    away = "x:1 cannot be reached: "
    answers: Iterator[str | None] = iter(
        [
            None,
            f"{away}refused",
            None,
            *[f"{away}refused", f"{away}reset"] * 250,
            "x:1: its certificate has ended",
            None,
            *["x:1: the gateway is there, but the SuperLink behind it does not answer"] * 2,
            None,
        ]
    )

    def fault() -> str | None:
        answer = next(answers, "")
        if answer == "":
            stop.set()
        return answer

    Connection("x:1", told.append, stop).look(fault)
    assert told == [
        "x:1 cannot be reached: reset; tries go on",
        "x:1: its certificate has ended; tries go on",
        "x:1 can be reached again",
        "x:1: the gateway is there, but the SuperLink behind it does not answer; tries go on",
        "x:1 works again",
    ]
    assert module.LOOK_EVERY_S >= 5
