import socket
import threading

import pytest

from fedthorax.server.consortium.folder import Hospital, read_hospitals, write_hospitals
from fedthorax.server.consortium.settings import split_address
from fedthorax.server.consortium.start import _Readiness, _warn_of_end, start, superlink_service


def test_the_superlink_is_on_loopback_asks_for_keys_keeps_its_state_and_fetches_nothing(folder):
    service = superlink_service(folder, folder.settings())
    assert {
        "--host=127.0.0.1",
        "--enable-supernode-auth",
        f"--database={folder.database}",
        "--disable-runtime-dependency-installation",
    } <= set(service.command)
    assert "--insecure" not in service.command
    assert service.environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert service.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert service.environment["FEDTHORAX_CONSORTIUM"] == str(folder.path)
    assert service.environment["FLWR_HOME"] == str(folder.flower_home)
    assert "127.0.0.1" in service.environment["NO_PROXY"]


def test_flower_knows_every_option_that_the_superlink_is_given(folder):
    from flwr.superlink.cli.flower_superlink import _parse_args_run_superlink

    arguments = _parse_args_run_superlink().parse_args(list(superlink_service(folder, folder.settings()).command[1:]))
    assert arguments.enable_supernode_auth is True
    assert arguments.runtime_dependency_install is False


@pytest.mark.parametrize("kind", ["gateway", "superlink"])
def test_a_port_that_is_taken_is_said_before_anything_is_started(folder, kind):
    settings = folder.settings()
    address = settings.gateway_address if kind == "gateway" else settings.superlink_address
    with socket.socket() as other:
        other.bind(split_address(address))
        other.listen()
        with pytest.raises(OSError, match=f"cannot listen at {address}: .*; end what uses the port"):
            start(folder, print, threading.Event())
    assert not folder.state.exists()


def test_a_certificate_that_has_ended_is_refused_with_the_way_out(folder, monkeypatch):
    told = []
    with folder.settings_file.open("a") as settings:
        settings.write("unbound_calls: [St. Anna, Berta]\n")
    monkeypatch.setattr("fedthorax.server.consortium.start.days_left", lambda path: -2)
    with pytest.raises(ValueError, match=r"server\.crt: ended 2 days ago; renew it with `fedthorax server renew`"):
        start(folder, told.append, threading.Event())
    assert told == ["calls of St. Anna, Berta need no signature of path and body (unbound_calls)"]


def test_a_certificate_and_a_key_that_do_not_fit_are_named_before_anything_is_started(folder):
    folder.server_certificate.write_bytes(folder.loopback_certificate.read_bytes())
    folder.server_key.write_bytes(folder.server_key.read_bytes().partition(b"-----BEGIN CERT")[0])  # one of before
    stop = threading.Event()
    stop.set()
    with pytest.raises(ValueError, match=r"server\.crt and .*server\.key do not belong together"):
        start(folder, print, stop)


def test_plain_http_is_refused_where_others_could_reach_it(folder):
    text = folder.settings_file.read_text()
    folder.settings_file.write_text(text + "listen: 0.0.0.0:8443\n")
    with pytest.raises(ValueError, match="--insecure is for loopback only"):
        start(folder, print, threading.Event(), insecure=True)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (-1, "certificate has ended: no hospital can connect"),
        (0, "ends in 0 days"),
        (29, "ends in 29 days"),
        (30, None),
    ],
)
def test_the_end_of_the_certificate_is_said_before_and_after(days, words):
    told = []
    _warn_of_end(days, told.append)
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


def test_the_superlink_is_told_the_list_again_whenever_it_has_changed_and_no_fault_of_its_ends_the_server(
    folder, monkeypatch
):
    answers, heard, told, clock = [RuntimeError("database is locked")] * 2, [], [], iter(range(100))
    monkeypatch.setattr("fedthorax.server.consortium.start.time.monotonic", lambda: float(next(clock)))

    def tell(_):
        heard.append(len(read_hospitals(folder)))
        if answers:
            raise answers.pop()

    monkeypatch.setattr("fedthorax.server.consortium.start.tell_superlink", tell)
    ready = _Readiness(folder, folder.settings(), (), told.append)
    for _ in range(5):
        ready.tick()
    assert heard == [0, 0, 0]
    assert told[0] == "the SuperLink cannot be told the list of hospitals: database is locked; tries go on"
    assert [words[:29] for words in told[1:]] == ["thorax is ready for hospitals"]
    write_hospitals(folder, [Hospital("north", "key")])
    for _ in range(3):
        ready.tick()
    assert heard == [0, 0, 0, 1]
    assert len(told) == 2
