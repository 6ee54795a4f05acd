"""Carries models and updates between the gateway and the site worker, as the SuperNode's user.

It has the hospital's key and sees bytes pass; the worker has the files and no key. It asks the worker what is wanted
(carriage.py), fetches with GET and delivers with PUT, and after a line that broke goes on where it stopped.
"""

import argparse
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.client.site import protocol
from fedthorax.client.site.carriage import DONE, GONE, Want
from fedthorax.client.site.worker_client import open_channel
from fedthorax.common.consortium.keys import read_private_key
from fedthorax.common.consortium.objects import (
    HELD_HEADER,
    NO_BODY,
    WAY_HEADER,
    Place,
    call_headers,
    content_range,
    range_from,
    way,
)

PIECE_BYTES = 1 << 18  # on the slowest line that the gateway takes it passes within carriage.NOBODY_S
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # before the next try, doubled each time
MOST_TRIES = 40  # without a byte in between: about a quarter of an hour
TELL_S = 0.5
BROKEN = f"the line to the consortium's gateway broke off {MOST_TRIES} times without a byte in between"
REFUSED = "the consortium's gateway refuses the model or the update; the hospital's own log says why"
_AWAY_S = 0.5  # before the worker is looked for again
_TIMEOUT = httpx.Timeout(60, connect=10)


class Throttle:
    """At most ``mbit_per_s`` on average of what passes, in both directions together; None: no limit."""

    def __init__(self, mbit_per_s: float | None) -> None:
        self._seconds_a_byte = 8e-6 / mbit_per_s if mbit_per_s else 0.0
        self._free = 0.0

    def passed(self, count: int) -> None:
        now = time.monotonic()
        self._free = max(self._free, now) + count * self._seconds_a_byte
        if self._free > now:
            time.sleep(self._free - now)


class Carrier:
    """``channel`` leads to the worker, ``client`` to the gateway; ``key`` is read anew for each call, as it may have
    been renewed."""

    def __init__(
        self,
        channel: grpc.Channel,
        client: httpx.Client,
        key: Callable[[], ec.EllipticCurvePrivateKey],
        throttle: Throttle,
        say: Callable[[str], None] = lambda text: print(text, flush=True),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._key, self._throttle, self._say, self._sleep = client, key, throttle, say, sleep
        self._want, self._take = channel.unary_unary(protocol.WANT), channel.stream_unary(protocol.TAKE)
        self._give, self._tell = channel.unary_stream(protocol.GIVE), channel.unary_unary(protocol.TELL)

    def run(self) -> None:
        """Carry until the process ends."""
        tries, best = 0, ("", 0)  # what was tried last, and how far it was
        while True:
            try:
                answer = self._want(b"", timeout=60)
                if not answer:
                    tries = 0
                    continue
                want = Want(**json.loads(answer))
                if (want.sha256, want.offset) != best:
                    tries, best = 0, (want.sha256, want.offset)
                problem = self.carry(want, first=tries == 0)
            except grpc.RpcError:
                self._sleep(_AWAY_S)  # the worker is away, or does not want it any more
                continue
            if problem is None:
                tries = 0
                continue
            tries += 1
            self._say(f"{'the update' if want.deliver else 'the model'} stands still, try {tries}: {problem}")
            if tries >= MOST_TRIES:
                self._outcome(want.sha256, want.offset, BROKEN)
                tries = 0
            self._sleep(min(FIRST_WAIT_S * 2 ** (tries - 1), LONGEST_WAIT_S) if tries else FIRST_WAIT_S)

    def carry(self, want: Want, first: bool = True) -> str | None:
        """None where it is done with, as the worker was told; else what broke."""
        place = Place(want.run, want.task, want.sha256)
        try:
            answer = self._deliver(want, place, first) if want.deliver else self._fetch(want, place)
        except (httpx.TransportError, ssl.SSLError, OSError) as error:
            return f"{type(error).__name__} {error}".strip()
        if answer is None:
            return None
        status, reason = answer
        if status == 404:
            self._outcome(want.sha256, want.offset, GONE)
            return None
        if status in (400, 405, 411, 413, 416):
            self._say(f"the gateway refuses an object: {status} {reason}")
            self._outcome(want.sha256, want.offset, REFUSED)
            return None
        return f"{status} {reason}"

    def _fetch(self, want: Want, place: Place) -> tuple[int, str] | None:
        part = range_from(want.offset) if want.offset else ""
        headers = call_headers(self._key(), "GET", place.path, part, NO_BODY) | ({"range": part} if part else {})
        headers[WAY_HEADER] = way(want.before, want.total)
        broke: list[Exception] = []
        with self._client.stream("GET", place.path, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                return _words(answer)

            def pieces() -> Iterator[bytes]:
                yield _what(want, want.offset)
                try:
                    for data in answer.iter_raw(PIECE_BYTES):
                        self._throttle.passed(len(data))
                        yield data
                except httpx.TransportError as error:  # what has come is kept
                    broke.append(error)

            taken = int(self._take(pieces()))
        if taken < want.bytes:
            raise broke[0] if broke else httpx.ReadError("the answer ended before its time")
        return None

    def _deliver(self, want: Want, place: Place, first: bool) -> tuple[int, str] | None:
        offset = 0
        if not (want.fresh and first and not want.offset):
            answer = self._client.head(place.path, headers=call_headers(self._key(), "HEAD", place.path, "", NO_BODY))
            if answer.status_code not in (200, 202):
                return answer.status_code, "to the question how much is there"
            offset = int(answer.headers[HELD_HEADER])
            if answer.status_code == 200:
                self._outcome(want.sha256, want.bytes, DONE)
                return None
        given = self._give(_what(want, offset))
        part = content_range(offset, want.bytes)
        headers = call_headers(self._key(), "PUT", place.path, part, next(given).decode("ascii"))
        headers |= {"content-range": part, "content-length": str(want.bytes - offset)}
        headers[WAY_HEADER] = way(want.before, want.total)

        def pieces() -> Iterator[bytes]:
            done, told = offset, time.monotonic()
            for message in given:
                for start in range(0, len(message), PIECE_BYTES):
                    piece = message[start : start + PIECE_BYTES]
                    self._throttle.passed(len(piece))
                    yield piece
                    done += len(piece)
                    if time.monotonic() - told > TELL_S:
                        told = time.monotonic()
                        self._outcome(want.sha256, done, "")

        answer = self._client.put(place.path, headers=headers, content=pieces())
        if answer.status_code not in (200, 201):
            return _words(answer)
        self._outcome(want.sha256, want.bytes, DONE)
        return None

    def _outcome(self, sha256: str, done: int, outcome: str) -> None:
        self._tell(json.dumps({"sha256": sha256, "done": done, "outcome": outcome}).encode(), timeout=60)


def _what(want: Want, offset: int) -> bytes:
    return json.dumps({"sha256": want.sha256, "offset": offset}).encode()


def _words(answer: httpx.Response) -> tuple[int, str]:
    answer.read()
    from fedthorax.client.site.call_signing import reason_of  # Flower, which only a refusal needs

    return answer.status_code, reason_of(answer)


def gateway_client(server: str, root_certificates: Path) -> httpx.Client:
    """``server`` is HOST:PORT, reached through HTTPS_PROXY where there is one."""
    verify = ssl.create_default_context(cafile=str(root_certificates))
    return httpx.Client(base_url=f"https://{server}", verify=verify, timeout=_TIMEOUT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True, help="HOST:PORT of the gateway")
    parser.add_argument("--root-certificates", type=Path, required=True)
    parser.add_argument("--private-key", type=Path, required=True)
    parser.add_argument("--node-config", type=Path, required=True, help="how the worker is reached, TOML")
    parser.add_argument("--mbit-per-s", type=float)
    options = parser.parse_args()
    import tomllib

    node = tomllib.loads(options.node_config.read_text(encoding="utf-8"))
    with open_channel(node) as channel, gateway_client(options.server, options.root_certificates) as client:
        Carrier(channel, client, lambda: read_private_key(options.private_key), Throttle(options.mbit_per_s)).run()


if __name__ == "__main__":
    main()
