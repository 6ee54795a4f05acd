"""How the thin ClientApp reaches the site worker. Nothing here imports TensorFlow, and nothing here sees an image."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from fedthorax.client.site import protocol
from fedthorax.client.site.protocol import Assembly, parts_of
from fedthorax.common.disclosure.sentences import INSIDE, error_outside
from fedthorax.common.messages.message import Asked, failed
from fedthorax.common.messages.sending import closed
from fedthorax.common.wire.parcel import Parcel

WORKER_WAIT_S = 180.0  # for a worker that is being started again
RETRY_S = 0.5
MIRROR_S = 5.0  # before the worker's events are asked for again
MOST_LOSSES = 3  # of the worker during one task
DEADLINE_GRACE_S = 5.0  # the worker itself ends the task at the deadline and says so
LARGEST_REPLY = 1 << 32
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # the worker is inside the hospital
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def open_channel(node_config: Mapping[str, Any]) -> grpc.Channel:
    """``socket``: path of a Unix socket; or ``worker``: host:port, with the files ``worker-ca``, ``worker-certificate``
    and ``worker-key``."""
    if "socket" in node_config:
        return grpc.insecure_channel(f"unix:{node_config['socket']}", _OPTIONS)
    ca, certificate, key = (
        Path(str(node_config[f"worker-{name}"])).read_bytes() for name in ("ca", "certificate", "key")
    )
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.secure_channel(str(node_config["worker"]), credentials, _OPTIONS)


def ask_worker(parcel: Parcel, task: Asked, node_config: Mapping[str, Any]) -> Parcel:
    """The worker's reply to the task in ``parcel``, as it came, or one that says why there is none.

    Always returns: by the task's deadline, or once the worker was lost MOST_LOSSES times during the task, or when it
    has been away for WORKER_WAIT_S.
    """
    losses, away_since = 0, time.monotonic()
    while True:
        heard = False
        try:
            with open_channel(node_config) as channel:
                for answer in _call(channel, parts_of(parcel), task.deadline):
                    if answer is not None:
                        return answer
                    heard = True
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or "no reason given"
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                return _failure(task, "the site worker did not finish by the deadline")
            if code not in _LOST:
                print(f"the site worker refused: {details}", file=sys.stderr, flush=True)  # outside, less of it is said
                said = error_outside(f"the site worker refused: {details}")
                return _failure(task, "the site worker refused the task" if said == INSIDE else said)
            if heard:
                losses, away_since = losses + 1, time.monotonic()
            if losses >= MOST_LOSSES:
                return _failure(task, f"the site worker ended {losses} times while it did the task")
        except (OSError, ValueError, KeyError) as error:
            print(f"the site worker cannot be asked: {error}", file=sys.stderr, flush=True)
            return _failure(task, "the site worker cannot be asked")
        if time.monotonic() - away_since > WORKER_WAIT_S:
            return _failure(
                task, f"the site worker has not been there for {WORKER_WAIT_S:g} s; is `site start` running?"
            )
        if task.deadline and time.time() > task.deadline:
            return _failure(task, "the site worker was not there by the deadline")
        time.sleep(RETRY_S)


def watch_worker(channel: grpc.Channel) -> Iterator[str]:
    """The worker's events as JSON, one after the other, until it ends or the channel is closed."""
    for event in channel.unary_stream(protocol.WATCH)(b""):
        yield event.decode()


def mirror_events(node_config: Mapping[str, str], events: Path, stop: threading.Event) -> None:
    """Copy the events of a worker on another host into this host's run/events.jsonl, so that they are shown here too,
    until ``stop`` is set; after a break its whole log comes again, and the copy begins anew."""
    while not stop.is_set():
        try:
            with open_channel(node_config) as channel, events.open("w", encoding="utf-8") as copy:
                for line in watch_worker(channel):
                    copy.write(line + "\n")
                    copy.flush()
                    if stop.is_set():
                        return
        except (grpc.RpcError, OSError, KeyError):
            pass  # a worker that is away is the SuperNode's and the server's concern; here it only shows nothing
        stop.wait(MIRROR_S)


def worker_answers(node_config: Mapping[str, Any], seconds: float) -> bool:
    """Whether the worker says a word within ``seconds``."""
    try:
        with open_channel(node_config) as channel:
            channel.unary_unary(protocol.ALIVE)(b"", timeout=seconds, wait_for_ready=True)
    except grpc.RpcError:
        return False
    return True


def _call(channel: grpc.Channel, parts: Iterator[bytes], deadline: float) -> Iterator[Parcel | None]:
    """None for each word of progress, then the reply."""
    work = channel.stream_stream(protocol.WORK)
    timeout = max(deadline - time.time(), 0.0) + DEADLINE_GRACE_S if deadline else None
    assembly: Assembly | None = None
    for message in work(parts, timeout=timeout):
        if message == protocol.PROGRESS:
            yield None
        elif assembly is None:
            assembly = Assembly(message, LARGEST_REPLY)
        else:
            assembly.add(message)
    if assembly is None:
        raise ValueError("it hung up without a word")
    yield assembly.parcel()


def _failure(task: Asked, reason: str) -> Parcel:
    return closed(failed(task, error_outside(reason)))
