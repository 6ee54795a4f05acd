"""Strangers who hold connections open, say nothing, or say it slowly."""

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from fedthorax.server.consortium import gateway
from fedthorax.server.consortium.door import HANDSHAKE_SECONDS, Places, place_of
from fedthorax.server.consortium.gateway import BODY_PATIENCE_SECONDS
from fedthorax.server.consortium.settings import split_address

from ..waiting import wait_for
from .served import PULL, Consortium, caller, head_of, raw, secure_socket, served_consortium, signed

SOCKETS, FILES = 1200, 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """A gateway that may open no more than 1,024 files, as many a shell gives."""
    with served_consortium(tmp_path_factory.mktemp("consortium"), "connections_per_address: 64\n", FILES) as one:
        yield one


def idle(served: Consortium, source: str, known: contextlib.ExitStack) -> socket.socket:
    """A connection without a byte of TLS."""
    address = split_address(served.folder.settings().gateway_address)
    return known.enter_context(socket.create_connection(address, timeout=20, source_address=(source, 0)))


def held_open(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("addresses", [1, 40], ids=["from one address", "from forty addresses"])
def test_a_thousand_connections_without_a_handshake_keep_no_hospital_out(served: Consortium, addresses: int) -> None:
    strangers = list[socket.socket]()
    with contextlib.ExitStack() as held:
        for number in range(SOCKETS):
            strangers.append(idle(served, f"127.0.9.{1 + number % addresses}", held))
        most = 64 if addresses == 1 else (FILES - 128) // 2
        wait_for(lambda: sum(map(held_open, strangers)) <= most, seconds=HANDSHAKE_SECONDS - 1)  # not by their time
        begun = time.monotonic()
        with caller(served.folder) as client:
            assert client.post("/v1/fleet/get-run", headers=signed(served.anna, "/v1/fleet/get-run")).status_code == 200
        assert time.monotonic() - begun < 5
    assert "Traceback" not in served.log()


def test_the_oldest_stranger_makes_room_and_a_hospital_never_does() -> None:
    places, closed = Places(most=3, most_per_address=2), list[str]()

    def take(address: str, known: bool = False) -> object:
        with contextlib.closing(socket.socket()) as taken:
            connection = places.take(taken, address)
        if connection is not None:
            connection.known, name = known, f"{address} {len(closed)}"
            connection.close = lambda: closed.append(name)
        return connection

    take("a"), take("a")
    assert take("a", known=True)  # its own address is full: the oldest of it goes
    assert len(closed) == 1
    assert take("b", known=True)
    assert take("c", known=True)  # all places are taken: the last stranger goes
    assert len(closed) == 2
    assert take("d") is None  # hospitals everywhere


def test_the_gateway_raises_its_own_limit_of_open_files_as_far_as_it_may() -> None:
    program = (
        "import resource; from fedthorax.server.consortium.door import room_for\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 1500))\n"
        "print(room_for(500), resource.getrlimit(resource.RLIMIT_NOFILE)[0], room_for(1024))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["500", "1128", "686"]  # two files a connection, and 128


def test_all_addresses_of_one_ipv6_network_count_as_one() -> None:
    assert place_of("2001:db8:1:2:3:4:5:6") == place_of("2001:db8:1:2:ffff::1") != place_of("2001:db8:1:3::1")
    assert place_of("fe80::1%eth0") == place_of("fe80::2")
    assert place_of("::ffff:192.0.2.1") == place_of("192.0.2.1") != place_of("192.0.2.2")


@pytest.mark.slow
def test_strangers_with_a_whole_ipv6_network_put_out_themselves_alone() -> None:
    """Without a gateway: this machine has one IPv6 address only."""
    places, out = Places(most=100, most_per_address=8), list[int]()
    for number in range(1000):
        with contextlib.closing(socket.socket()) as taken:
            connection = places.take(taken, place_of(f"2001:db8:1:2::{number:x}"))
        assert connection is not None
        connection.close = lambda number=number: out.append(number)
    assert out == list(range(992))


@pytest.mark.slow
def test_who_does_not_shake_hands_is_gone_after_a_few_seconds(served: Consortium) -> None:
    with contextlib.ExitStack() as held:
        silent = idle(served, "127.0.9.1", held)
        begun = time.monotonic()
        with contextlib.suppress(ConnectionError):
            assert silent.recv(1) == b""
        assert time.monotonic() - begun == pytest.approx(HANDSHAKE_SECONDS, abs=4)


@pytest.mark.slow
def test_a_body_of_one_byte_every_two_seconds_ends(served: Consortium) -> None:
    served.superlink.whole.clear()
    headers = signed(served.anna, "/v1/fleet/push-object", b"x" * 1000)
    with secure_socket(served.folder) as slow:
        head = f"POST /v1/fleet/push-object HTTP/1.1\r\nhost: x\r\n{head_of(headers)}content-length: 1000\r\n\r\n"
        slow.sendall(head.encode())
        slow.settimeout(2)
        begun, answer = time.monotonic(), b""
        while not answer and time.monotonic() - begun < 2 * BODY_PATIENCE_SECONDS:
            slow.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(100)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begun == pytest.approx(BODY_PATIENCE_SECONDS, abs=15)
    assert served.superlink.whole == []


def test_a_stranger_keeps_no_connection_by_asking_what_anybody_may(served: Consortium) -> None:
    answer = raw(served.folder, f"GET {gateway.ABOUT_PATH} HTTP/1.1\r\nhost: x\r\n\r\n")  # ends by itself
    assert b"connection: close" in answer
    answer = raw(served.folder, f"POST {PULL} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_the_limit_of_open_files_is_said_where_it_is_lower_than_the_places(served: Consortium) -> None:
    wait_for(lambda: "raise the limit of open files" in served.log())


@pytest.mark.slow
def test_one_who_breaks_off_in_the_handshake_leaves_no_place_taken(served: Consortium) -> None:
    for _ in range(200):
        address = split_address(served.folder.settings().gateway_address)
        with socket.create_connection(address, source_address=("127.0.9.3", 0)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    context = ssl.create_default_context(cafile=served.folder.ca_certificate)
    with (
        socket.create_connection(
            split_address(served.folder.settings().gateway_address), source_address=("127.0.9.3", 0)
        ) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        assert secure.version()
    assert "Traceback" not in served.log()
