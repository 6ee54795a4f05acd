"""Requests and keys that nobody's library would send: whatever they are, the gateway answers in its own words or hangs
up, and its log has no traceback."""

import base64
import contextlib
import ssl
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from fedthorax.server.consortium.members import Members

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
