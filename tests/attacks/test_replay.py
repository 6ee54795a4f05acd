"""One call that somebody has seen, sent again, to the letter or as another one, while its time is still good."""

import base64
import contextlib
import datetime
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fedthorax.common.consortium.keys import new_private_key
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER
from fedthorax.server.consortium import members
from fedthorax.server.consortium.members import KEPT_SECONDS, SeenCalls

from .served import PULL, Consortium, caller, gateway_process, served_consortium, signed

PUSH = "/v1/fleet/push-object"
ORDER_OF_P384 = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16
)


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


def another_signature(value: str) -> str:
    """Of the same text by the same key, without the key: (r, -s) is as good as (r, s)."""
    r, s = decode_dss_signature(base64.b64decode(value))
    return base64.b64encode(encode_dss_signature(r, ORDER_OF_P384 - s)).decode()


@pytest.mark.parametrize("how", ["to the letter", "other signatures", "more headers"])
@pytest.mark.parametrize("body", [b"what the hospital sent", b""], ids=["with a body", "without"])
def test_the_same_call_again_is_refused(served: Consortium, how: str, body: bytes) -> None:
    seen = signed(served.anna, PUSH, body)
    again = {
        "to the letter": seen,
        "other signatures": seen | {name: another_signature(seen[name]) for name in ("flwr-signature", CALL_HEADER)},
        "more headers": seen | {"accept": "x", "content-type": "text/plain"},
    }[how]
    with caller(served.folder) as client, caller(served.folder) as other:
        assert client.post(PUSH, headers=seen, content=body).status_code == 200
        before = list(served.superlink.paths)
        answer = other.post(PUSH, headers=again, content=body)
    assert (answer.status_code, answer.json()["detail"]) == (
        401,
        "this call was made before; each has to be signed anew",
    )
    assert served.superlink.paths == before


def test_of_two_that_come_at_once_one_is_taken(served: Consortium) -> None:
    seen, statuses = signed(served.anna, PUSH, b"x"), list[int]()

    def send() -> None:
        with caller(served.folder) as client:
            statuses.append(client.post(PUSH, headers=seen, content=b"x").status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [401] * 7


@pytest.mark.slow
def test_a_gateway_that_was_started_again_does_not_take_what_the_one_before_took(tmp_path: object) -> None:
    with served_consortium(tmp_path) as one, caller(one.folder) as client:  # type: ignore[arg-type]
        seen = signed(one.anna, PUSH, b"x")
        assert client.post(PUSH, headers=seen, content=b"x").status_code == 200
        settings = one.folder.path / "consortium.yaml"
        port = int(one.folder.settings().gateway_address.rpartition(":")[2])
        settings.write_text(settings.read_text() + f"listen: 127.0.0.1:{port + 1}\n")
        with gateway_process(one.folder), httpx.Client(verify=False, trust_env=False) as second:
            again = second.post(f"https://127.0.0.1:{port + 1}{PUSH}", headers=seen, content=b"x")
            assert (again.status_code, "signed before the gateway began" in again.text) == (503, True)
            new = signed(one.anna, PUSH, b"x")
            assert second.post(f"https://127.0.0.1:{port + 1}{PUSH}", headers=new, content=b"x").status_code == 200


def test_what_is_remembered_is_bounded_and_no_hospital_pushes_anothers_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now, later = [1000.0], time.time() + 1
    monkeypatch.setattr(members.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(members, "MOST_OF_ONE", 100)
    calls = SeenCalls()
    calls.take("north", later, "first")
    for number in range(100):
        calls.take("south", later, str(number))
    with pytest.raises(BlockingIOError, match="more than 100 calls"):
        calls.take("south", later, "one more")
    with pytest.raises(PermissionError, match="made before"):
        calls.take("north", later, "first")
    calls.take("north", later, "0")  # another hospital's call of the same words is another one
    now[0] += KEPT_SECONDS - 1
    with pytest.raises(PermissionError, match="made before"):
        calls.take("south", later, "99")
    now[0] += 2  # Flower itself does not take their time any more
    calls.take("south", later, "one more")
    assert [len(seen) for seen in calls._seen.values()] == [2, 1]


def test_a_clock_that_is_set_back_keeps_no_hospital_out_and_lets_no_old_call_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, clock = [1000.0], [50_000.0]
    monkeypatch.setattr(members.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(members.time, "time", lambda: clock[0])
    calls = SeenCalls()
    now[0], clock[0] = 1010.0, 46_410.0  # it was an hour ahead, and is set right 10 s later
    calls.take("north", 46_409.0, "new")
    with pytest.raises(BlockingIOError, match="signed before the gateway began"):
        calls.take("north", 46_399.0, "of a gateway before this one")


def test_a_call_is_remembered_for_as_long_as_its_time_is_taken() -> None:
    """Signed 5 s ahead, it is good until it is 305 s old."""
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    assert datetime.timedelta(seconds=KEPT_SECONDS) >= datetime.timedelta(
        seconds=TIMESTAMP_TOLERANCE + 2 * SYSTEM_TIME_TOLERANCE
    )


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


def test_nobody_takes_the_signature_off_the_calls_of_a_hospital_that_may_not_leave_it_out(tmp_path: object) -> None:
    with served_consortium(tmp_path, "unbound_calls: [Berta]\n") as one, caller(one.folder) as client:  # type: ignore[arg-type]
        plain = {n: v for n, v in signed(one.anna, PUSH).items() if not n.startswith("fedthorax-")}
        assert client.post(PUSH, headers=plain, content=b"x").status_code == 401
        assert one.superlink.whole == []


def test_a_lead_may_take_unbound_calls_and_bound_ones_are_checked_all_the_same(tmp_path: object) -> None:
    with served_consortium(tmp_path, "unbound_calls: [St. Anna]\n") as one, caller(one.folder) as client:  # type: ignore[arg-type]
        plain = {n: v for n, v in signed(one.anna, PUSH).items() if not n.startswith("fedthorax-")}
        assert client.post(PUSH, headers=plain, content=b"x").status_code == 200
        assert client.post("/v1/fleet/get-run", headers=plain).status_code == 401  # one time serves one call
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
