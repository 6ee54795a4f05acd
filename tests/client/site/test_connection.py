"""What a hospital is told of its way to the server."""

import threading
from collections.abc import Iterator

import pytest

from fedthorax.client.site import connection as module
from fedthorax.client.site.connection import Connection


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def connection(told: list[str]) -> Connection:
    return Connection("fl.example.org:8443", told.append, threading.Event())


def test_an_unknown_key_is_said_once_and_not_with_every_try(connection: Connection, told: list[str]) -> None:
    for _ in range(1000):
        connection.take("INFO :      SuperNode terminated gracefully.")
        assert connection.explains("supernode ended with exit status 0: INFO; it is started again in 1 s")
    assert told == [
        "fl.example.org:8443: the server does not take this hospital's key: not admitted yet, or revoked; tries go on"
    ]
    connection.take("INFO :      SuperNode ID: 7")
    assert told[1:] == ["fl.example.org:8443: connected"]
    assert not connection.explains("supernode was ended by SIGKILL; it is started again in 1 s")


def test_the_connection_that_a_killed_supernode_left_is_named(connection: Connection, told: list[str]) -> None:
    connection.take("[code: 2004] Failed to activate SuperNode.")
    assert told == [
        "fl.example.org:8443: the server still holds the connection that broke off; it lets go within about a minute, "
        "tries go on"
    ]


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
    assert told == ["fl.example.org:8443: connected"]


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
    answers: Iterator[bool] = iter([True, False, True, *[False] * 500, True, True])

    def reachable() -> bool:
        answer = next(answers, None)
        if answer is None:
            stop.set()
        return bool(answer)

    Connection("x:1", told.append, stop).look(reachable)
    assert told[:2] == ["x:1 cannot be reached; tries go on until it can", "x:1 can be reached again"]
    assert len(told) == 2
    assert module.LOOK_EVERY_S >= 5
