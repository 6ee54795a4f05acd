"""Requests and keys that nobody's library would send: whatever they are, the gateway answers in its own words or hangs
up, and its log has no traceback."""

import base64
import contextlib
import hashlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from types import SimpleNamespace

import h11
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol

from fedthorax.server.consortium.door import HEAD_SECONDS, Protocol
from fedthorax.server.consortium.members import Members
from fedthorax.server.consortium.settings import split_address

from .served import PULL, Consortium, caller, head_of, raw, secure_socket, served_consortium, signed

CURVES = (ec.SECP256R1, ec.SECP521R1, ec.SECP256K1, ec.SECP224R1, ec.SECP192R1, ec.BrainpoolP256R1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with served_consortium(tmp_path_factory.mktemp("consortium"), "connections_per_address: 64\n") as one:
        yield one
        assert "Traceback" not in one.log()


def pem(key: object) -> bytes:
    public = key.public_key()  # type: ignore[attr-defined]
    return bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def point_of_no_curve() -> bytes:
    """A key whose curve is given by an object identifier that names none."""
    der = base64.b64decode(pem(ec.generate_private_key(ec.SECP256R1())).split(b"-----")[2])
    return (
        b"-----BEGIN PUBLIC KEY-----\n"
        + base64.encodebytes(der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f")))
        + b"-----END PUBLIC KEY-----\n"
    )


@pytest.mark.parametrize(
    "key",
    [
        *(pytest.param(pem(ec.generate_private_key(curve())), id=curve.name) for curve in CURVES),
        pytest.param(point_of_no_curve(), id="no curve"),
        pytest.param(pem(rsa.generate_private_key(65537, 2048)), id="RSA"),
        pytest.param(pem(dsa.generate_private_key(1024)), id="DSA"),
        pytest.param(pem(ed25519.Ed25519PrivateKey.generate()), id="Ed25519"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", id="empty PEM"),
    ],
)
def test_a_key_of_another_kind_is_refused_as_any_stranger_is(served: Consortium, key: bytes) -> None:
    headers = signed(served.anna) | {"flwr-public-key": base64.b64encode(key).decode()}
    with caller(served.folder) as client:
        answer = client.post(PULL, headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "this key does not belong to an admitted hospital")
    assert "Traceback" not in served.log()


@pytest.mark.parametrize(
    "extra",
    [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 0",
        "content-length: " + "9" * 5000,
        "content-length: 5, 5",
        "content-length: -1",
        "content-length: +5",
        "content-length: 5_0",
        "upgrade: websocket\r\nconnection: upgrade",
        "expect: 100-continue\r\ncontent-length: 99999999999999999999",
        "transfer-encoding: gzip, chunked",
        "x: \x00",
    ],
)
def test_no_head_of_an_admitted_hospital_makes_a_traceback(served: Consortium, extra: str) -> None:
    head = head_of(signed(served.anna))
    answer = raw(
        served.folder, f"POST {PULL} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}{extra}\r\n\r\n0\r\n\r\n"
    )
    assert b" 500 " not in answer[:20]
    assert "Traceback" not in served.log()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /fedthorax/about HTTP/1.1\r\nhost: x\r\n\r\nGARBAGE BEHIND THE ANSWER",
        b"GET /fedthorax/about HTTP/1.0\r\n\r\n",
        b"\r\n" * 5000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000,
    ],
)
def test_bytes_that_are_no_request_make_no_traceback(served: Consortium, bytes_sent: bytes) -> None:
    assert b" 500 " not in raw(served.folder, bytes_sent)[:20]
    assert "Traceback" not in served.log()


def test_a_wrong_piece_length_in_a_body_makes_no_traceback(served: Consortium) -> None:
    head = head_of(signed(served.anna, "/v1/fleet/push-object"))
    request = f"POST /v1/fleet/push-object HTTP/1.1\r\nhost: x\r\n{head}transfer-encoding: chunked\r\n\r\n5\r\nabcdeXX"
    with secure_socket(served.folder) as one, contextlib.suppress(ConnectionError, ssl.SSLError):
        one.sendall(request.encode())
        assert b" 500 " not in one.recv(4096)[:20]
    assert "Traceback" not in served.log()


def post(path: str, headers: dict[str, str], more: str = "", body: str = "") -> str:
    """``more`` are further lines of the head; a length stands there unless they say how the body comes."""
    length = "" if "transfer-encoding" in more else f"content-length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{head_of(headers)}{length}{more}\r\n{body}"


CLOSE = "connection: close\r\n"
CHUNKED = f"{CLOSE}transfer-encoding: chunked\r\n"
PUSH = "/v1/fleet/push-object"


def test_what_is_sent_at_one_go_is_judged_one_by_one(served: Consortium) -> None:
    """Pipelined: fifty calls of a hospital, then one to the control interface behind them."""
    calls = [post(PUSH, signed(served.anna, PUSH, f"{n:02}".encode()), body=f"{n:02}") for n in range(50)]
    before = len(served.superlink.whole)
    answer = raw(served.folder, "".join([*calls, post("/v1/control/list-runs", signed(served.anna))]))
    assert [answer.count(b"HTTP/1.1 " + status) for status in (b"200", b"404", b"401")] == [50, 1, 0]
    assert served.superlink.whole[before:] == [hashlib.sha256(f"{n:02}".encode()).digest() for n in range(50)]


def test_a_stranger_behind_a_hospitals_call_in_one_connection_is_a_stranger(served: Consortium) -> None:
    stolen = signed(served.anna) | {"flwr-signature": "AAAA"}
    answer = raw(served.folder, post(PULL, signed(served.anna)) + post(PULL, stolen))
    assert (answer.count(b"HTTP/1.1 200"), answer.count(b"HTTP/1.1 401")) == (1, 1)


@pytest.mark.parametrize(
    ("more", "body", "status"),
    [
        pytest.param(CHUNKED, "5\r\nabcde\r\n0\r\nflwr-public-key: evil\r\nx: y\r\n\r\n", 200, id="trailers"),
        pytest.param(CHUNKED, "1;x=y\r\na\r\n0004\r\nbcde\r\n0\r\n\r\n", 200, id="extensions of pieces"),
        pytest.param(CHUNKED, "-5\r\nabcde\r\n0\r\n\r\n", 400, id="a negative piece"),
        pytest.param(CHUNKED, "0x5\r\nabcde\r\n0\r\n\r\n", 400, id="a piece in another notation"),
        pytest.param(CLOSE + "Flwr-Timestamp: x\r\n", "abcde", 400, id="a header twice in another case"),
        pytest.param(CLOSE + "flwr_timestamp: x\r\n", "abcde", 200, id="a header with an underscore"),
        pytest.param(CLOSE + "x: a\r\n flwr-timestamp: x\r\n", "abcde", 200, id="a header on two lines"),
        pytest.param(CLOSE + "host: y\r\n", "abcde", 400, id="two hosts"),
        pytest.param(CLOSE + "x-forwarded-for: 127.0.0.1\r\nforwarded: for=::1\r\n", "abcde", 200, id="another's name"),
    ],
)
def test_of_an_odd_request_the_superlink_has_the_hospitals_headers_and_body_or_nothing(
    served: Consortium, more: str, body: str, status: int
) -> None:
    headers, before = signed(served.anna, PUSH, b"abcde"), len(served.superlink.whole)
    answer = raw(served.folder, post(PUSH, headers, more, body))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert len(served.superlink.whole) == before + (status == 200)
    if status == 200:
        got = json.loads(re.search(rb"\{.*\}", answer, re.DOTALL)[0])  # type: ignore[index]
        assert got["length"] == 5
        assert {name: value for name, value in got["headers"].items() if name.startswith("flwr")} == {
            name: value for name, value in headers.items() if name.startswith("flwr")
        }
        assert not {"x", "x-forwarded-for", "forwarded", "trailer"} & set(got["headers"])


@pytest.mark.parametrize("stolen", [False, True], ids=["a hospital's", "a stranger's"])
def test_a_body_that_is_broken_at_once_has_one_answer_at_most(served: Consortium, stolen: bool) -> None:
    """The parser sees it before the gateway has answered the head."""
    headers, before = signed(served.anna, PUSH, b"abcde"), len(served.superlink.whole)
    headers |= {"flwr-signature": "AAAA"} if stolen else {}
    answer = raw(served.folder, post(PUSH, headers, CHUNKED, "5\r\nabcdeXX\r\n"))
    assert answer.count(b"HTTP/1.1") <= 1
    assert len(served.superlink.whole) == before
    time.sleep(0.2)  # the log is another process's
    assert "Traceback" not in served.log()


@pytest.mark.parametrize("fault", [h11.LocalProtocolError("it has answered already"), ValueError("5,000 digits")])
def test_what_the_parser_itself_trips_over_breaks_the_connection_off(
    fault: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As garbage that comes between an answer and the end of its connection; fuzzing finds it in some thousands."""
    aborted = list[bool]()
    protocol = Protocol.__new__(Protocol)
    protocol.transport = SimpleNamespace(abort=lambda: aborted.append(True))  # type: ignore[assignment]

    def trip(*_: object) -> None:
        raise fault

    monkeypatch.setattr(H11Protocol, "data_received", trip)
    protocol.data_received(b"garbage")
    assert aborted == [True]
    assert "broken off: no HTTP" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "https://x/v1/control/list-runs",
        f"https://x{PULL}",
        f"{PULL}/",
        f"/{PULL}",
        "/v1/fleet/../control/list-runs",
        f"{PULL};x",
        "/v1/fleet/pull%2dmessages",
        f"{PULL}#x",
        PULL.upper(),
        f"{PULL}?x",
        f"{PULL}%00",
        "*",
    ],
)
def test_a_path_that_is_nearly_one_of_the_ten_is_none(served: Consortium, path: str) -> None:
    before = list(served.superlink.paths)
    assert raw(served.folder, post(path, signed(served.anna, path), CLOSE)).startswith(b"HTTP/1.1 404 ")
    assert served.superlink.paths == before


def test_a_request_for_messages_fills_no_memory(served: Consortium) -> None:
    """It is held as a whole, by as many connections as a hospital may have."""
    body, before = "x" * 100_000, list(served.superlink.paths)
    pieces = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    answer = raw(served.folder, post(PULL, signed(served.anna, PULL, body.encode()), CHUNKED, pieces))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert served.superlink.paths == before


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_not_spoken(served: Consortium, version: str) -> None:
    context = ssl.create_default_context(cafile=served.folder.ca_certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    address = split_address(served.folder.settings().gateway_address)
    with socket.create_connection(address, timeout=20) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="Python's own TLS cannot ask for another handshake")
def test_a_second_handshake_within_a_connection_is_refused(served: Consortium) -> None:
    host, port = split_address(served.folder.settings().gateway_address)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2", "-CAfile", served.folder.ca_certificate]
    said = subprocess.run(command, input=b"R\n", capture_output=True, timeout=30)
    assert b"no renegotiation" in said.stderr


@pytest.mark.slow
def test_a_head_that_comes_byte_by_byte_ends_after_twenty_seconds(served: Consortium) -> None:
    head, begun = post(PULL, signed(served.anna)).encode(), time.monotonic()
    with secure_socket(served.folder) as slow, contextlib.suppress(OSError):
        for byte in head:
            slow.sendall(bytes([byte]))
            time.sleep(0.2)
    assert time.monotonic() - begun == pytest.approx(HEAD_SECONDS, abs=4)


lines = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=80)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    method=lines, path=lines, version=st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2", ""]), more=lines, tail=lines
)
def test_the_gateways_parser_holds(
    served: Consortium, method: str, path: str, version: str, more: str, tail: str
) -> None:
    request = f"{method} {path} {version}\r\nhost: x\r\nconnection: close\r\n{more}\r\n\r\n{tail}"
    with secure_socket(served.folder) as one, contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        one.settimeout(0.05)  # a head that is not whole is waited for
        one.sendall(request.encode("latin-1"))
        assert b" 500 " not in one.recv(4096)[:20]
    assert "Traceback" not in served.log()


@pytest.fixture(scope="module")
def members(served: Consortium) -> Members:
    return Members(served.folder)


pem_like = st.binary(max_size=200).map(
    lambda der: b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"
)
headers = st.fixed_dictionaries(
    {},
    optional={
        b"flwr-public-key": st.one_of(st.binary(max_size=100), st.one_of(st.binary(), pem_like).map(base64.b64encode)),
        b"flwr-signature": st.one_of(st.binary(max_size=100), st.binary().map(base64.b64encode)),
        b"flwr-timestamp": st.one_of(
            st.binary(max_size=40), st.datetimes().map(lambda t: t.isoformat().encode() + b"+00:00"),
            st.sampled_from([b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:59-23:59", b"2026-01-01", b"now"]),
        ),
        b"fedthorax-body": st.binary(max_size=80),
        b"fedthorax-call": st.binary(max_size=80),
    },
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(sent=headers, by_anna=st.sets(st.sampled_from([b"flwr-public-key", b"flwr-signature", b"flwr-timestamp"])))
def test_whatever_the_headers_are_the_answer_is_no(
    served: Consortium, members: Members, sent: dict[bytes, bytes], by_anna: set[bytes]
) -> None:
    """``by_anna``: these are a real hospital's, so that what is behind them is reached as well."""
    real = {name.encode(): value.encode() for name, value in signed(served.anna).items()}
    with pytest.raises(PermissionError):
        members.identify(sent | {name: real[name] for name in by_anna}, "POST", PULL)
