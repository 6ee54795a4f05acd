"""One call that somebody has seen, sent again as another one, while its time is still good."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest

from fedthorax.common.consortium.keys import new_private_key
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER

from .served import PULL, Consortium, caller, served_consortium, signed

PUSH = "/v1/fleet/push-object"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with served_consortium(tmp_path_factory.mktemp("consortium")) as one:
        yield one


def test_a_call_with_another_path_is_refused(served: Consortium) -> None:
    seen = signed(served.anna, PULL)
    with caller(served.folder) as client:
        answer = client.post("/v1/fleet/deactivate-node", headers=seen)
    assert (answer.status_code, answer.json()["detail"]) == (
        401,
        "the signature of the call's path and body does not fit",
    )
    assert served.superlink.paths == []


@pytest.mark.parametrize("body", [b"another", b"", b"z" * 5_000_000], ids=["short", "empty", "long"])
def test_a_call_with_another_body_never_reaches_the_superlink_whole(served: Consortium, body: bytes) -> None:
    served.superlink.whole.clear()
    seen = signed(served.anna, PUSH, b"what the hospital sent")
    with caller(served.folder) as client, contextlib.suppress(httpx.TransportError):
        assert client.post(PUSH, headers=seen, content=body).status_code == 401
    assert served.superlink.whole == []


@pytest.mark.parametrize("without", [{BODY_HEADER}, {CALL_HEADER}, {BODY_HEADER, CALL_HEADER}])
def test_leaving_the_signature_of_the_call_out_does_not_help(served: Consortium, without: set[str]) -> None:
    seen = {name: value for name, value in signed(served.anna, PUSH).items() if name not in without}
    with caller(served.folder) as client:
        answer = client.post(PUSH, headers=seen)
    assert answer.status_code == 401
    assert "the call's path and body are not signed" in answer.json()["detail"]


def test_a_signature_by_another_key_does_not_fit(served: Consortium) -> None:
    mine = signed(new_private_key(), PUSH)
    with caller(served.folder) as client:
        answer = client.post(PUSH, headers=signed(served.anna, PUSH) | {CALL_HEADER: mine[CALL_HEADER]})
    assert answer.status_code == 401


def test_a_lead_may_take_unbound_calls_and_bound_ones_are_checked_all_the_same(tmp_path: object) -> None:
    with served_consortium(tmp_path, "unbound_calls: true\n") as one, caller(one.folder) as client:  # type: ignore[arg-type]
        plain = {n: v for n, v in signed(one.anna, PUSH).items() if not n.startswith("fedthorax-")}
        assert client.post(PUSH, headers=plain, content=b"x").status_code == 200
        assert client.post(PUSH, headers=signed(one.anna, PULL), content=b"x").status_code == 401


def test_flowers_own_supernode_signs_its_calls_once_call_signing_is_installed(served: Consortium) -> None:
    from flwr.supernode import fleet_http_connection

    from fedthorax.client.site.call_signing import CallSigning, install

    before = fleet_http_connection.NodeAuthHttpInterceptor
    try:
        install()
        key = served.anna
        signing = fleet_http_connection.NodeAuthHttpInterceptor(key, key.public_key())
        assert isinstance(signing, CallSigning)
        with caller(served.folder) as client:
            request = client.build_request("POST", PUSH, content=b"what it sent")
            context = type("Context", (), {"request": request})()
            answer = signing.intercept(context, lambda one: client.send(one.request))
    finally:
        fleet_http_connection.NodeAuthHttpInterceptor = before
    assert answer.status_code == 200
    assert answer.json()["length"] == len(b"what it sent")


def test_the_reason_of_a_refusal_is_printed_without_what_moves_a_terminal(
    served: Consortium, capsys: pytest.CaptureFixture[str]
) -> None:
    from fedthorax.client.site.call_signing import CallSigning

    stranger = new_private_key()
    with caller(served.folder) as client:
        context = type("Context", (), {"request": client.build_request("POST", PUSH, content=b"")})()
        CallSigning(stranger, stranger.public_key()).intercept(context, lambda one: client.send(one.request))
    assert capsys.readouterr().out == ("refused by the server: this key does not belong to an admitted hospital\n")
    hostile = httpx.Response(401, json={"detail": "\x1b[2Jcome\nin" + "x" * 1000})
    context = type("Context", (), {"request": httpx.Request("POST", f"https://x{PUSH}", content=b"")})()
    CallSigning(stranger, stranger.public_key()).intercept(context, lambda one: hostile)
    printed = capsys.readouterr().out
    assert printed.startswith("refused by the server:  [2Jcome in")
    assert len(printed) < 350
