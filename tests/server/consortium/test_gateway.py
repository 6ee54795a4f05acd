"""The gateway as a process, before a stand-in for the SuperLink that tells what reached it."""

import contextlib
import datetime
import hashlib
import json
import re
import socket
import ssl
import time
import warnings

import httpx
import pytest

from fedthorax.common.consortium import objects
from fedthorax.common.consortium.keys import new_private_key
from fedthorax.server.consortium import gateway
from fedthorax.server.consortium.admission import admit, revoke
from fedthorax.server.consortium.folder import renew
from fedthorax.server.consortium.gateway import FLEET_PATHS
from fedthorax.server.consortium.members import read_last_seen
from fedthorax.server.consortium.settings import split_address

from ...attacks.served import MODEL, caller, gateway_process, head_of, raw, served_consortium, signed
from ...waiting import wait_for


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Shared by all tests that leave the list of hospitals as it is."""
    with served_consortium(tmp_path_factory.mktemp("consortium"), "connections_per_address: 8\n") as one:
        yield one


@pytest.fixture
def superlink(served):
    """The stand-in, without what earlier tests brought to it."""
    served.superlink.paths.clear()
    served.superlink.whole.clear()
    return served.superlink


def test_the_headers_are_those_that_flower_sends():
    from flwr.common.constant import TIMESTAMP_HEADER
    from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
    from flwr.superlink.routers.fleet.router import router

    assert objects.KEY_HEADER == FLEET_HTTP_PUBLIC_KEY_HEADER
    assert objects.SIGNATURE_HEADER == FLEET_HTTP_SIGNATURE_HEADER
    assert objects.TIME_HEADER == TIMESTAMP_HEADER
    flower = {route.path for route in router.routes}
    assert flower - FLEET_PATHS == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert flower > FLEET_PATHS


def test_a_model_passes_whole_in_both_directions(superlink, served):
    body = bytes(range(256)) * (MODEL // 256)
    with caller(served.folder) as client:
        for content in (body, iter([body[:1000], body[1000:]])):  # with a length, and chunked
            headers = signed(served.anna, "/v1/fleet/push-object", body) | {"x-other": "1"}
            answer = client.post("/v1/fleet/push-object", content=content, headers=headers)
            assert answer.headers["x-from"] == "superlink"
            got = answer.json()
            assert (got["length"], got["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
            assert "x-other" not in got["headers"]
            assert got["headers"]["flwr-public-key"]
        assert (
            client.post("/v1/fleet/get-fab", headers=signed(served.anna, "/v1/fleet/get-fab")).content == b"m" * MODEL
        )
    assert read_last_seen(served.folder)["St. Anna"] == pytest.approx(time.time(), abs=60)


def test_a_body_beyond_the_limit_is_refused(superlink, served):
    headers = signed(served.anna, "/v1/fleet/push-object")
    head = head_of(headers)
    announced = f"POST /v1/fleet/push-object HTTP/1.1\r\nhost: x\r\n{head}content-length: {65 * 2**20}\r\n\r\n"
    assert raw(served.folder, announced).startswith(b"HTTP/1.1 413 ")
    with (
        caller(served.folder) as client,
        contextlib.suppress(httpx.TransportError),
    ):  # the answer may come, and the connection end, before all is sent
        pieces = iter([b"x" * 2**20] * 66)
        headers = signed(served.anna, "/v1/fleet/push-object")
        assert client.post("/v1/fleet/push-object", headers=headers, content=pieces).status_code == 413
    assert superlink.whole == []


def moment(seconds):
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing", "no valid SuperNode authentication"),
        ("unknown key", "this key does not belong to an admitted hospital"),
        ("known key, signed by another", "no valid SuperNode authentication"),
        ("old signature", r"the hospital's clock is 6\d\d s behind the server's, more than 300 s: set it \(NTP\)"),
        ("signature of a minute that is to come", r"[1-6]\d s ahead of the server's, more than 5 s: set it \(NTP\)"),
        ("not base64", "no valid SuperNode authentication"),
    ],
)
def test_who_is_not_admitted_reaches_nothing(superlink, served, what, reason):
    stranger = new_private_key()
    headers = {
        "nothing": {},
        "unknown key": signed(stranger),
        "known key, signed by another": signed(served.anna, sign_with=stranger),
        "old signature": signed(served.anna, at=moment(-600)),
        "signature of a minute that is to come": signed(served.anna, at=moment(60)),
        "not base64": signed(served.anna) | {"flwr-signature": "?"},
    }[what]
    with caller(served.folder) as client:
        answer = client.post("/v1/fleet/pull-messages", headers=headers)
    assert answer.status_code == 401
    assert re.search(reason, answer.json()["detail"])  # the seconds until the answer count too
    assert superlink.paths == []


def test_a_revoked_hospital_is_out_with_its_next_request_and_the_audit_log_says_so_once(served, applicant):
    berta = applicant("Berta")
    admit(served.folder, berta.file)
    with caller(served.folder) as client:
        assert client.post("/v1/fleet/pull-messages", headers=signed(berta.key)).status_code == 200
        revoke(served.folder, "Berta")
        for _ in range(3):
            assert client.post("/v1/fleet/pull-messages", headers=signed(berta.key)).status_code == 401
    lines = [json.loads(line) for line in served.folder.audit.path.read_text().splitlines()]
    refusals = [line["facts"] for line in lines if line["event"] == "connection_refused"]
    assert [r["reason"] for r in refusals if r["name"] == "Berta"] == ["the key was revoked or given up"]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/control/start-run",
        "/v1/runtime/pull-task-input",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/pull-messages/../../control/list-runs",
        "/v1/fleet/pull-messages%2f..%2f..%2fcontrol/list-runs",
        "//v1/control/list-runs",
        "/V1/fleet/pull-messages",
        "/v1/fleet/pull-messages?x=1",
        "/v1/fleet/pull-messages/",
        "https://127.0.0.1/v1/control/list-runs",
        "/docs",
        "/openapi.json",
        "/health",
        "/",
    ],
)
def test_no_other_path_exists_even_for_an_admitted_hospital(superlink, served, target):
    lines = [f"POST {target} HTTP/1.1", "host: x", "content-length: 0", "connection: close"]
    lines += [f"{name}: {value}" for name, value in signed(served.anna).items()]
    assert raw(served.folder, "\r\n".join(lines) + "\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert superlink.paths == []


@pytest.mark.parametrize(
    "extra",
    [
        "content-length: 5\r\ncontent-length: 6",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "flwr-public-key: AAAA",
    ],
)
def test_two_readings_of_one_request_are_not_possible(superlink, served, extra):
    head = head_of(signed(served.anna))
    request = f"POST /v1/fleet/pull-messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}{extra}\r\n\r\n0\r\n\r\n"
    assert raw(served.folder, request)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
    assert superlink.paths == []


def test_plain_http_and_old_tls_get_no_answer(served):
    address = split_address(served.folder.settings().gateway_address)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{served.folder.settings().address}/fedthorax/about", trust_env=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(served.folder.ca_certificate)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(address) as plain, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_about_gives_the_version_and_the_clock(served):
    from fedthorax import __version__

    with caller(served.folder) as client:
        answer = client.get(gateway.ABOUT_PATH)
    assert answer.json()["software_version"] == __version__
    assert answer.json()["consortium"] == "thorax"
    assert answer.headers["date"]
    assert "server" not in answer.headers


def test_without_a_superlink_the_hospital_is_told_to_try_again(folder, applicant):
    anna = applicant("St. Anna")
    admit(folder, anna.file)
    with gateway_process(folder), caller(folder) as client:
        assert client.get(gateway.ABOUT_PATH).json()["superlink"] == "answers"  # as far as anybody knows
        assert client.post("/v1/fleet/pull-messages", headers=signed(anna.key)).status_code == 503
        assert client.get(gateway.ABOUT_PATH).json()["superlink"] == "does not answer"


@pytest.mark.parametrize(("answered", "passed_on"), [(500, 503), (502, 502), (403, 403)])
def test_where_the_superlink_fails_the_supernode_tries_again_instead_of_ending(
    monkeypatch, superlink, served, answered, passed_on
):
    """Flower's client takes 500 for an end, and 503 for a reason to wait."""
    monkeypatch.setattr(superlink, "status", answered)
    with caller(served.folder) as client:
        answer = client.post(
            "/v1/fleet/push-object", content=b"x", headers=signed(served.anna, "/v1/fleet/push-object", b"x")
        )
    assert answer.status_code == passed_on
    assert answer.json()["length"] == 1


def test_a_new_certificate_is_taken_without_a_break(superlink, served):

    def shown():
        context = ssl.create_default_context(cafile=served.folder.ca_certificate)
        address = split_address(served.folder.settings().gateway_address)
        with (
            socket.create_connection(address) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.getpeercert()["serialNumber"]

    before = shown()
    with caller(served.folder) as client:
        client.post("/v1/fleet/pull-messages", headers=signed(served.anna))
        renew(served.folder)
        wait_for(lambda: shown() != before)
        assert client.post("/v1/fleet/pull-messages", headers=signed(served.anna)).status_code == 200


# Where the server has put the ninth out before its handshake begins, ssl.SSLSocket._create of Python raises what recv
# says and leaves the socket that it has just made to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_one_address_has_a_bounded_number_of_connections(served):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(caller(served.folder)) for _ in range(8)]
        for client in clients:
            headers = signed(served.anna, "/v1/fleet/get-run")
            assert client.post("/v1/fleet/get-run", headers=headers).status_code == 200
        with caller(served.folder) as ninth, pytest.raises(httpx.TransportError):
            ninth.get(gateway.ABOUT_PATH)
        clients[0].close()
        wait_for(lambda: free(served.folder))


def free(folder):
    with contextlib.suppress(httpx.TransportError), caller(folder) as client:
        return client.get(gateway.ABOUT_PATH).status_code == 200
    return False
