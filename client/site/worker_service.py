"""The site worker as others reach it: gRPC on a Unix socket that its owner and one group may open, or mTLS over TCP."""

import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import grpc

from fedthorax.client.site import protocol
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.protocol import PART_BYTES, Assembly, parts_of
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.task_desk import TaskDesk, warm_up
from fedthorax.common.ground.atomic_write import remove_leftovers
from fedthorax.common.ground.events import EventTail
from fedthorax.common.ground.lock import take
from fedthorax.common.messages.message import Task
from fedthorax.common.messages.reading import read_task
from fedthorax.common.messages.tasks import HELD_S, DecisionTask
from fedthorax.common.wire.parcel import Parcel

PROGRESS_S = 2.0  # between two words to a caller who waits
WATCH_S = 0.25
WANT_S = 20.0  # for which the carrier's question is held
MOST_HELD = (
    1024  # calls, each of a ClientApp that waits; with no thread left the heartbeat and the carrier would wait too
)
LONGEST_SOCKET_PATH = 100  # bytes; the system's own limit is 107 on Linux, 103 on macOS
EXIT_RESTART = 75  # EX_TEMPFAIL of sysexits.h: a new process can do what this one cannot
_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a second worker on the same port must fail, not take every other task
)


class WorkerService:
    """The calls of protocol.py."""

    def __init__(self, desk: TaskDesk) -> None:
        self._desk = desk
        self._largest = desk.settings.limits.max_message_mb << 20

    def handlers(self) -> grpc.GenericRpcHandler:
        calls = {
            "Work": grpc.stream_stream_rpc_method_handler(self.work),
            "Watch": grpc.unary_stream_rpc_method_handler(self.watch),
            "Alive": grpc.unary_unary_rpc_method_handler(lambda request, context: b""),
            "Want": grpc.unary_unary_rpc_method_handler(self.want),
            "Take": grpc.stream_unary_rpc_method_handler(self.take),
            "Give": grpc.unary_stream_rpc_method_handler(self.give),
            "Tell": grpc.unary_unary_rpc_method_handler(self.tell),
        }
        return grpc.method_handlers_generic_handler(protocol.SERVICE, calls)

    def work(self, parts: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            task, parcel = self._receive(parts)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if isinstance(task, DecisionTask):
            yield from self._decision(task)
            return
        job = self._desk.submit(task, parcel if parcel.light else None)
        del task, parcel
        while not job.done.wait(PROGRESS_S):
            if (undecided := job.undecided) is not None:  # the job stays; the server asks about it
                yield from parts_of(undecided)
                return
            yield protocol.PROGRESS
        reply = job.reply
        if reply is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the site worker starts anew for this task")
        else:
            yield from parts_of(reply)

    def _decision(self, task: DecisionTask) -> Iterator[bytes]:
        until = time.monotonic() + HELD_S
        while self._desk.undecided(task.about) and time.monotonic() < until:
            yield protocol.PROGRESS
            time.sleep(WATCH_S)
        yield from parts_of(self._desk.decision(task))

    def watch(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        tail = EventTail(self._desk.folder.events)
        while context.is_active():
            for event in tail.read()[0]:
                yield json.dumps(event, ensure_ascii=False).encode()
            time.sleep(WATCH_S)

    def want(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        want = self._desk.carriage.next_want(WANT_S)
        return b"" if want is None else json.dumps(asdict(want)).encode()

    def take(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        try:
            what = json.loads(next(messages))
            return str(self._desk.carriage.take(what["sha256"], what["offset"], messages)).encode()
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except OSError as error:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the hospital's disk takes no file: {error.strerror}")
        return b""

    def give(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            what = json.loads(request)
            data = self._desk.carriage.give(what["sha256"], what["offset"])
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        yield (hashlib.sha256(data).hexdigest() if what["offset"] else what["sha256"]).encode()
        for start in range(0, len(data), PART_BYTES):
            yield bytes(data[start : start + PART_BYTES])

    def tell(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._desk.carriage.tell(**json.loads(request))
        return b""

    def _receive(self, parts: Iterator[bytes]) -> tuple[Task, Parcel]:
        assembly = Assembly(next(parts, b""), self._largest)
        for part in parts:
            assembly.add(part)
        parcel = assembly.parcel()
        return read_task(parcel), parcel


def start_server(desk: TaskDesk) -> grpc.Server:
    """A listening server; OSError or ValueError where the socket or the certificates cannot be used."""
    server = grpc.server(ThreadPoolExecutor(max_workers=MOST_HELD, thread_name_prefix="call"), options=_OPTIONS)
    server.add_generic_rpc_handlers((WorkerService(desk).handlers(),))
    settings = desk.settings
    if settings.worker is not None:
        _listen_remote(server, settings)
    else:
        _listen_local(server, socket_path(desk.folder, settings), settings.users.group)
    server.start()
    return server


def socket_path(folder: SiteFolder, settings: SiteSettings) -> Path:
    """Where the socket is; ValueError where the system could not hold so long a path."""
    path = settings.socket or folder.socket
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{path}: a socket's path may have at most {LONGEST_SOCKET_PATH} bytes; set `socket` in site.yaml to a "
            "shorter one, such as /run/fedthorax/worker.sock"
        )
    return path


def _listen_local(server: grpc.Server, path: Path, group: str | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # of a worker that was killed; a living one is excluded by the caller's lock
    before = os.umask(0o117)  # 0660 from the first moment on
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise OSError(f"{path}: the worker's socket cannot be opened; is the folder writable?") from error
    finally:
        os.umask(before)
    if group is not None:
        shutil.chown(path, group=group)


def _listen_remote(server: grpc.Server, settings: SiteSettings) -> None:
    remote = settings.worker
    assert remote is not None  # for the type checker: the caller looked
    pair = (remote.key.read_bytes(), remote.certificate.read_bytes())
    credentials = grpc.ssl_server_credentials([pair], remote.ca.read_bytes(), require_client_auth=True)
    address = remote.listen or remote.address
    try:
        server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"{address}: the worker cannot listen there; is the port taken?") from error


def serve(folder: SiteFolder, settings: SiteSettings) -> int:
    """Do tasks until SIGTERM or SIGINT; returns the exit status."""
    # Held while the worker lives: a second one would take the socket away from the first.
    lock = take(folder.run / "worker.lock", f"{folder.path}: a site worker runs here already")
    folder.events.unlink(missing_ok=True)
    remove_leftovers(folder.state)  # each as large as a model
    desk = TaskDesk(folder, settings)
    server = start_server(desk)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: desk.close())
    print(f"site worker of {settings.name} is ready", flush=True)
    warm_up()
    threading.Thread(target=_close_to_restart, args=(desk,), daemon=True).start()
    from fedthorax.client.private import Private
    from fedthorax.client.process import SiteProcess
    from fedthorax.client.segment_store import SegmentStore
    from fedthorax.client.site.kept_results import keep_results
    from fedthorax.client.site.trust import trust_of
    from fedthorax.client.site_store import SiteStore

    process = SiteProcess(
        desk.events,
        privacy=settings.privacy,
        duplicate_key=settings.duplicate_key,
        file_names=settings.limits.file_names,
        segments=SegmentStore(folder.segments),
        own=SiteStore(folder.own),
        smallest_score=settings.limits.smallest_count,
        trust=lambda: trust_of(folder),
        private=Private(SiteStore(), folder.state, settings.limits.privacy),
    )
    desk.run(process.worker.run, lambda task, experiment: keep_results(folder, process, task, experiment))
    server.stop(grace=2.0).wait()
    os.close(lock)
    return EXIT_RESTART if desk.restart_needed.is_set() else 0


def _close_to_restart(desk: TaskDesk) -> None:
    desk.restart_needed.wait()
    time.sleep(PROGRESS_S)  # the caller hears of it first
    desk.close()
