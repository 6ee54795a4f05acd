"""The whole way of a model to a hospital's worker and of its update back: carrier and gateway are the real ones, and
between them lies a line that can break."""

import contextlib
import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.client.site import carriage, carrier
from fedthorax.client.site.carriage import GONE, Carriage
from fedthorax.client.site.carrier import Carrier, Throttle, gateway_client
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.task_desk import TaskDesk
from fedthorax.client.site.worker_client import ask_worker, open_channel
from fedthorax.client.site.worker_service import start_server
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.messages.message import Asked
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.wire.parcel import Cargo
from fedthorax.server.channel import Passing
from fedthorax.server.consortium.gateway import LEAST_BYTES_PER_SECOND
from fedthorax.server.consortium.objects import ObjectStore
from fedthorax.server.consortium.settings import split_address

from ...attacks.served import served_consortium
from ...conftest import EXPERIMENT
from ...told import trained
from ...waiting import wait_for
from .conftest import settings, task
from .proxy import connect_proxy

RUN = "0" * 32
MODEL = np.arange(1_000_000, dtype=np.float32)  # 4 MB
SHA256 = hashlib.sha256(MODEL.tobytes()).hexdigest()


class Line:
    """A TCP line to the gateway that breaks once so many bytes have gone ``up`` or ``down``, and then works again."""

    def __init__(self, to: tuple[str, int]) -> None:
        self._to, self.passed, self.breaks = to, {"up": 0, "down": 0}, {"up": [], "down": []}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._ends += [near, far]
            for way, source, target in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._pump, args=(way, source, target), daemon=True).start()

    def _pump(self, way: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.passed[way] += len(data)
                if self.breaks[way] and self.passed[way] >= self.breaks[way][0]:
                    self.breaks[way].pop(0)
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            end.close()


class Site:
    """A hospital's worker and carrier in this process."""

    def __init__(self, folder: SiteFolder, served, address: str) -> None:
        folder.make()
        self.folder, self.trained = folder, 0
        self.desk = TaskDesk(folder, settings(name="St. Anna", participation="always"))
        self.server = start_server(self.desk)
        self.thread = threading.Thread(target=self.desk.run, args=(self._train, lambda *_: None), daemon=True)
        self.thread.start()
        self.client = gateway_client(address, served.folder.ca_certificate)
        self.channel = open_channel(self.node)
        self.said: list[str] = []
        self.carrier = Carrier(
            self.channel, self.client, lambda: served.anna, Throttle(None), self.said.append, lambda s: time.sleep(0.01)
        )
        self.carries = threading.Thread(target=self._carry, daemon=True)
        self.carries.start()

    @property
    def node(self) -> dict[str, str]:
        return {"socket": str(self.folder.socket)}

    def _carry(self) -> None:
        with contextlib.suppress(ValueError):  # the channel is closed
            self.carrier.run()

    def _train(self, asked) -> TrainReply:
        self.trained += 1
        weights = {name: values + 1 for name, values in asked.weights.items()}
        return TrainReply(site=asked.site, round=asked.round, results=trained(3), weights=weights)

    def ask(self, asked):
        """The parcel that comes back through the ClientApp."""
        parcel = closed(asked).without_data()
        return ask_worker(parcel, Asked.model_validate_json(parcel.text), self.node)

    def close(self) -> None:
        self.server.stop(grace=None).wait()
        self.desk.close()
        self.thread.join()
        self.channel.close()
        self.carries.join()
        self.client.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with served_consortium(tmp_path_factory.mktemp("consortium")) as one:
        yield one


@pytest.fixture
def store(served) -> Iterator[ObjectStore]:
    one = ObjectStore(served.folder.objects)
    yield one
    one.end()


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def line(served) -> Iterator[Line]:
    one = Line(split_address(served.folder.settings().gateway_address))
    yield one
    one.close()


@pytest.fixture
def site(tmp_path_factory, served, line) -> Iterator[Site]:
    one = Site(SiteFolder(tmp_path_factory.mktemp("s")), served, line.address)
    yield one
    one.close()


@pytest.fixture
def asked(store, experiment_file):
    experiment = travelling(load_experiment(experiment_file(EXPERIMENT.replace("st.mary", "St. Anna"))))
    one = task(experiment, site="St. Anna", run=RUN, by_address=True, weights={"disease": MODEL})
    store.offer(one, Cargo.of(one.weights))
    return one


def test_a_model_comes_and_an_update_goes_beside_messages_of_a_few_kb(site, store, asked):
    back = site.ask(asked)
    assert back.light
    assert back.num_bytes < 10_000
    assert store.passing(asked) == Passing("send", 4_000_000, 4_000_000)
    reply = read_reply(store.whole(asked, back), asked)
    assert reply.error is None
    assert np.array_equal(reply.weights["disease"], MODEL + 1)


def test_a_line_that_breaks_goes_on_where_it_stopped_in_both_directions(site, store, asked, line):
    line.breaks["down"], line.breaks["up"] = [1_000_000, 3_000_000], [2_000_000]
    reply = read_reply(store.whole(asked, site.ask(asked)), asked)
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert len(site.said) >= 3
    # What was in flight goes again: a few buffers each time, not the object.
    assert line.passed["down"] < 4_000_000 + 2 * 1_000_000
    assert line.passed["up"] < 4_000_000 + 2_500_000


def test_both_go_through_the_proxy_that_a_hospital_has(tmp_path_factory, served, store, asked, monkeypatch):
    address = served.folder.settings().gateway_address
    with connect_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        site = Site(SiteFolder(tmp_path_factory.mktemp("s")), served, address)
        try:
            reply = read_reply(store.whole(asked, site.ask(asked)), asked)
        finally:
            site.close()
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert set(proxy.asked) == {address}


def test_what_the_hospital_holds_is_not_fetched_again(site, store, asked, line):
    site.folder.segments.mkdir(parents=True)
    (site.folder.segments / f"disease-{SHA256}.f32").write_bytes(MODEL.tobytes())
    reply = read_reply(store.whole(asked, site.ask(asked)), asked)
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert line.passed["down"] < 100_000


@pytest.mark.parametrize("damaged", [MODEL.tobytes()[:-4], MODEL.tobytes()[:-1] + b"x"], ids=["cut", "changed"])
def test_what_is_held_but_damaged_is_fetched_anew(site, store, asked, line, damaged):
    site.folder.segments.mkdir(parents=True)
    (site.folder.segments / f"disease-{SHA256}.f32").write_bytes(damaged)
    reply = read_reply(store.whole(asked, site.ask(asked)), asked)
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert line.passed["down"] > 3_900_000


def test_what_came_before_a_crash_of_the_worker_is_not_fetched_again(site, store, asked, line):
    site.folder.incoming.mkdir(parents=True)
    (site.folder.incoming / f"{SHA256}.part").write_bytes(MODEL.tobytes()[:3_500_000])
    reply = read_reply(store.whole(asked, site.ask(asked)), asked)
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert 500_000 < line.passed["down"] < 700_000


@pytest.mark.parametrize(
    ("last", "again"), [(b"", False), (b"x", True), (b"xx", True)], ids=["whole", "damaged", "more"]
)
def test_a_worker_that_is_killed_once_all_has_come_and_before_it_is_noted_goes_on(
    site, store, asked, line, last, again
):
    site.folder.incoming.mkdir(parents=True)
    content = MODEL.tobytes()
    (site.folder.incoming / f"{SHA256}.part").write_bytes(content[:-1] + last if last else content)
    reply = read_reply(store.whole(asked, site.ask(asked)), asked)
    assert np.array_equal(reply.weights["disease"], MODEL + 1)
    assert (line.passed["down"] > 3_900_000) == again


def test_after_a_break_it_is_asked_first_how_much_has_come(site, store, asked, line, monkeypatch):
    monkeypatch.setattr(carrier, "TELL_S", 0.0)
    line.breaks["up"] = [2_000_000]
    assert np.array_equal(store.whole(asked, site.ask(asked)).arrays()["disease"], MODEL + 1)
    assert len(site.said) == 1
    assert "409" not in site.said[0]


def test_on_the_slowest_line_that_is_taken_the_worker_hears_of_every_piece_in_time(site, store, asked, monkeypatch):
    passed = []
    monkeypatch.setattr(site.carrier, "_throttle", SimpleNamespace(passed=passed.append))
    store.whole(asked, site.ask(asked))
    assert sum(passed) == 8_000_000
    assert max(passed) / LEAST_BYTES_PER_SECOND < carriage.NOBODY_S


def test_a_kept_update_is_delivered_once_more_and_not_made_again(site, store, asked):
    first = site.ask(asked)
    store.close(asked)  # the ServerApp was killed, and sends the task again
    store.offer(asked, Cargo.of(asked.weights))
    again = site.ask(asked)
    assert (first.manifest, site.trained) == (again.manifest, 1)
    assert np.array_equal(store.whole(asked, again).arrays()["disease"], MODEL + 1)


def test_a_model_of_another_hash_than_its_name_is_not_trained(site, served, asked):
    (file,) = served.folder.objects.glob(f"{RUN}/*/{asked.id}/down/{SHA256}")
    file.write_bytes(MODEL.tobytes()[:-1] + b"x")
    reply = read_reply(site.ask(asked), asked)
    assert reply.error == "segment disease: the values that came have another hash than the task says"
    assert site.trained == 0


def test_an_update_that_nobody_waits_for_any_more_is_not_delivered_and_the_message_goes(
    site, store, asked, monkeypatch
):
    deliver = site.desk.carriage.deliver

    def too_late(*arguments):
        store.close(asked)
        deliver(*arguments)

    monkeypatch.setattr(site.desk.carriage, "deliver", too_late)
    back = site.ask(asked)
    assert back.light
    assert read_reply(back, asked, late=True).error is None


def test_a_model_that_the_hospitals_disk_has_no_room_for_ends_its_task_with_that_reason(site, asked, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(site.desk.carriage, "_kept", full)
        reply = read_reply(site.ask(asked), asked)
    assert reply.error == "the hospital's own disk takes no file: No space left on device"
    assert site.trained == 0
    site.ask(asked)
    assert site.trained == 1  # there is room again


def test_without_a_carrier_a_task_ends_with_the_reason(tmp_path: Path, asked, monkeypatch):
    monkeypatch.setattr(carriage, "NOBODY_S", 0.0)
    heard = []
    with pytest.raises(RuntimeError, match="nothing here carries models and updates"):
        Carriage(tmp_path / "in", tmp_path / "segments").fetch(asked, closed(asked), lambda *done: heard.append(done))
    assert heard == [(0, 4_000_000)]


def test_only_what_is_wanted_is_taken_and_no_more_than_is_wanted(tmp_path: Path, asked):
    one = Carriage(tmp_path / "in", tmp_path / "segments")
    with pytest.raises(ValueError, match="not wanted"):
        one.take(SHA256, 0, [b"x"])
    raised = []

    def fetch() -> None:
        try:
            one.fetch(asked, closed(asked), lambda *_: None)
        except RuntimeError as error:
            raised.append(error)

    thread = threading.Thread(target=fetch)
    thread.start()
    wait_for(lambda: one.next_want(0.1) is not None)
    for offset, pieces, words in (
        (7, [b"x"], "0 bytes are here, not 7"),
        (0, [bytes(4_000_001)], "more than the 4000000"),
    ):
        with pytest.raises(ValueError, match=words):
            one.take(SHA256, offset, pieces)
    with pytest.raises(ValueError, match="not wanted"):
        one.give(SHA256, 0)
    one.tell(SHA256, 0, GONE)
    assert one.next_want(0.0) is None  # it is done with, though the worker may not have seen it yet
    thread.join()
    assert len(raised) == 1


def test_a_limit_of_the_line_holds_on_average(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(carrier.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(carrier.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    throttle = Throttle(8.0)  # a MB a second
    for _ in range(10):
        throttle.passed(250_000)
    assert clock[0] == pytest.approx(2.5)
