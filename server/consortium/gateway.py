"""The only way in: TLS, and of Flower's interfaces the calls of a hospital's SuperNode alone.

Flower's control interface shares the SuperLink's port and asks nobody who he is. So the SuperLink listens on loopback,
and this process stands in front of it. A request has to be a POST to one of ten paths and carry two signatures by the
key of an admitted hospital before a byte of its body is read: of the timestamp, as Flower's own node authentication has
it, and of method, path and body (common/consortium/signed_call.py). Bodies pass through in pieces, in both directions;
the last piece of one that does not fit its signature is kept back, so that the SuperLink never has the whole of it.

A SuperNode that finds no message asks again after 3 seconds. So an answer that would bring none is held back: until the
ServerApp rings the bell that it has sent some, or for HOLD_SECONDS.

The bytes of models and updates travel beside Flower's messages, by ``GET`` and ``PUT`` of objects (object_desk.py).

``GET /fedthorax/about`` is for the hospitals: name, software version, clock, and how the SuperLink answers.
"""

import asyncio
import contextlib
import datetime
import hashlib
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

import httpx

from fedthorax import __version__
from fedthorax.common.consortium.objects import Place, read_place, signed_path
from fedthorax.server.consortium.bell import Bell, Listener
from fedthorax.server.consortium.members import Members
from fedthorax.server.consortium.object_desk import ObjectDesk
from fedthorax.server.consortium.object_desk import RefusedError as _RefusedError

FLEET_PATHS = frozenset(
    f"/v1/fleet/{call}"
    for call in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "pull-object",
        "push-object",
        "confirm-message-received",
    )
)
PULL_PATH = "/v1/fleet/pull-messages"
_REGULAR = (PULL_PATH, "/v1/fleet/send-node-heartbeat")  # each hospital's, all the time
_PUSH_OBJECT = "/v1/fleet/push-object"  # follows a reply's announcement; who fetches the reply before it waits for 1 s
ABOUT_PATH = "/fedthorax/about"
BODY_PATIENCE_SECONDS = 60  # between two pieces of a body, and before the least speed is asked for
LEAST_BYTES_PER_SECOND = 4096  # on average, of a whole body and of a whole answer
ANSWER_PATIENCE_SECONDS = 300
HOLD_SECONDS = 10.0  # a SuperNode waits 30 s for an answer
LOOK_SECONDS = 3.0  # between two looks while no bell rings, as often as the SuperNode itself would ask

_PULL_BYTES = 1 << 16  # of a request for messages, which is held in memory; a real one has some hundred
_NOT_SIGNED = "the body is not the one that the hospital signed"
_OF_NOTHING = hashlib.sha256().hexdigest()
_FORWARDED_TO = (b"content-type", b"accept", b"flwr-")
_HELD_BACK = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"server", b"date", b"trailer", b"te"}

Headers = dict[bytes, bytes]
_Step = TypeVar("_Step")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("fedthorax.gateway")


class _GoneError(Exception):
    """The hospital hung up."""


class Gateway:
    """An ASGI application in front of the SuperLink at ``upstream`` (HOST:PORT), known to ``trusted``."""

    def __init__(
        self,
        consortium: str,
        upstream: str,
        trusted: ssl.SSLContext,
        members: Members,
        largest_body: int,
        mail: Bell,
        replies: Bell,
        objects: ObjectDesk,
        closing: Callable[[], bool] = lambda: False,
    ) -> None:
        """``mail`` is heard, ``replies`` is rung. ``closing`` says that this process is about to end, and nobody is to
        be kept waiting."""
        self._about = {"consortium": consortium, "software_version": __version__}
        self._members = members
        self._upstream_answers = True
        self._failing: set[str] = set()  # of the regular paths those that the SuperLink answered with an error last
        self._largest_body = largest_body
        self._mail, self._replies, self._closing, self._objects = mail, replies, closing, objects
        self._listener = Listener(mail, closing)
        self._client = httpx.AsyncClient(
            base_url=f"https://{upstream}",
            verify=trusted,
            headers={"accept-encoding": "identity"},  # unless the hospital asks for another
            trust_env=False,  # no proxy between two processes of one machine
            timeout=httpx.Timeout(ANSWER_PATIENCE_SECONDS, connect=5),
            # Below the 5 s after which the SuperLink closes an idle connection, or a request may meet a closed one.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=3),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # uvicorn is told to offer neither WebSockets nor a lifespan
            return
        try:
            if scope["path"] == ABOUT_PATH and scope["method"] in ("GET", "HEAD"):
                behind = "answers with errors" if self._failing else "answers"
                about = self._about | {
                    "time": _now().isoformat(timespec="milliseconds"),
                    "superlink": behind if self._upstream_answers else "does not answer",
                }
                await _answer(send, 200, about, close=True)  # a stranger keeps no connection
                return
            if (place := read_place(scope["raw_path"].decode("ascii", errors="replace"))) is not None:
                await self._object(place, scope, receive, send)
                return
            await self._fleet(scope, receive, send)
        except _RefusedError as refusal:
            await _answer(send, refusal.status, {"detail": str(refusal)})

    async def _object(self, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
        headers, method, pace = _headers(scope), scope["method"], _Pace()
        if scope["query_string"]:
            raise _RefusedError(404, "no such path")
        part = headers.get(b"content-range" if method == "PUT" else b"range", b"").decode("latin-1")
        hospital, digest = self._identify(headers, signed_path(place.path, part), method=method)
        scope["state"]["connection"].known = True
        if not digest:
            raise _RefusedError(401, "a call for an object has to be signed as a whole")

        async def paced(message: MutableMapping[str, Any]) -> None:
            await pace.wait(send(message))
            pace.bytes += len(message.get("body", b""))

        def body(length: int) -> AsyncIterator[bytes]:
            return self._body(receive, digest, length)

        with contextlib.suppress(_GoneError, TimeoutError):  # the hospital comes again and goes on
            await self._objects.answer(method, place, hospital, headers, digest, body, paced)

    async def _fleet(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["raw_path"].decode("ascii", errors="replace")
        if path not in FLEET_PATHS or scope["query_string"] or scope["method"] != "POST":
            raise _RefusedError(404, "no such path")
        headers = _headers(scope)
        hospital, digest = self._identify(headers, path)
        scope["state"]["connection"].known = True
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._largest_body:  # h11 has seen to it that it is a number
            raise _RefusedError(413, f"a request may hold {self._largest_body} bytes, this one announces {int(length)}")
        if length is not None and int(length) == 0 and digest not in ("", _OF_NOTHING):
            raise _RefusedError(401, _NOT_SIGNED)  # here already: the head alone would be the whole of it
        kept = [(name, value) for name, value in scope["headers"] if name.startswith(_FORWARDED_TO)]
        if length is not None:
            kept.append((b"content-length", length))
        begun = False
        try:
            if path == PULL_PATH:
                body = b"".join([piece async for piece in self._body(receive, digest, _PULL_BYTES)])
                answer = await self._messages(headers, kept, body, receive)
            else:
                request = self._client.build_request("POST", path, headers=kept, content=self._body(receive, digest))
                answer = await self._client.send(request, stream=True)
            if not self._upstream_answers:
                self._upstream_answers = True
                _log.warning("the SuperLink answers again")
            if path in _REGULAR:
                (self._failing.add if answer.status_code >= 500 else self._failing.discard)(path)
            try:
                answer_headers = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in _HELD_BACK]
                # A SuperNode ends at a 500, as from a locked database or a full disk, and tries again at a 503.
                status = 503 if answer.status_code == 500 else answer.status_code
                await send({"type": "http.response.start", "status": status, "headers": answer_headers})
                begun = True
                pace = _Pace()
                async for piece in answer.aiter_raw():
                    pace.bytes += len(piece)
                    await pace.wait(send({"type": "http.response.body", "body": piece, "more_body": True}))
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                if path == _PUSH_OBJECT:
                    self._replies.ring()
            finally:
                await answer.aclose()
        except (_GoneError, TimeoutError):  # of an answer that is not fetched
            return
        except httpx.TransportError as error:
            if self._upstream_answers:
                self._upstream_answers = False
                _log.warning("the SuperLink does not answer (%s of %s: %s)", path, hospital, type(error).__name__)
            if begun:
                return  # uvicorn cuts the connection, so that half an answer cannot be taken for a whole one
            raise _RefusedError(503, "the consortium's SuperLink does not answer; try again") from error

    async def _messages(
        self, headers: Headers, kept: list[tuple[bytes, bytes]], body: bytes, receive: Receive
    ) -> httpx.Response:
        """What the SuperLink has for the hospital, by HOLD_SECONDS at the latest."""
        gone = asyncio.ensure_future(receive())
        until = time.monotonic() + HOLD_SECONDS
        try:
            while True:
                heard = self._mail.last_ring()  # before the look: what comes after it rings again
                answer = await self._client.send(
                    self._client.build_request("POST", PULL_PATH, headers=kept, content=body), stream=True
                )
                # An answer without messages has no byte.
                empty = answer.status_code == 200 and answer.headers.get("content-length") == "0"
                if not empty or self._closing() or time.monotonic() >= until:
                    return answer
                await answer.aread()
                await self._listener.wait(heard, min(LOOK_SECONDS, until - time.monotonic()), gone)
                if gone.done():  # what the SuperLink gives now would be lost
                    raise _GoneError
                self._identify(headers, PULL_PATH, taken=True)  # it may have been revoked
        finally:
            gone.cancel()

    def _identify(self, headers: Headers, path: str, taken: bool = False, method: str = "POST") -> tuple[str, str]:
        """The hospital's name, and the SHA-256 that the body has to have; "" where it did not sign one."""
        try:
            return self._members.identify(headers, method, path, taken)
        except PermissionError as error:
            raise _RefusedError(401, str(error)) from None
        except BlockingIOError as error:  # a status with which a SuperNode tries again
            raise _RefusedError(503, str(error)) from None

    async def _body(self, receive: Receive, expected: str, most: int | None = None) -> AsyncIterator[bytes]:
        """The body's pieces, each only once the next has come: the last one once all of them fit their signature."""
        pace, digest, kept, more, most = _Pace(), hashlib.sha256(), b"", True, most or self._largest_body
        while more:
            try:
                message = await pace.wait(receive())
            except TimeoutError:
                raise _RefusedError(
                    408, f"the body came too slowly: less than {LEAST_BYTES_PER_SECOND} bytes/s, or nothing"
                ) from None
            if message["type"] == "http.disconnect":
                raise _GoneError
            piece, more = message.get("body", b""), message.get("more_body", False)
            pace.bytes += len(piece)
            if pace.bytes > most:
                raise _RefusedError(413, f"a request may hold {most} bytes")
            digest.update(piece)
            if piece:
                if kept:
                    yield kept
                kept = piece
        if expected and digest.hexdigest() != expected:
            raise _RefusedError(401, _NOT_SIGNED)
        if kept:
            yield kept


def _headers(scope: Scope) -> Headers:
    headers: Headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]):  # else another one might be read than was checked
        raise _RefusedError(400, "a header was given twice")
    if b"content-length" in headers and b"transfer-encoding" in headers:
        raise _RefusedError(400, "a body has either a length or pieces")
    return headers


class _Pace:
    """The time that one side of a body may take: BODY_PATIENCE_SECONDS, and more with every byte that has passed."""

    def __init__(self) -> None:
        self.bytes, self._spent = 0, 0.0

    async def wait(self, step: Awaitable[_Step]) -> _Step:
        """What ``step`` gives; TimeoutError once the other side has been too slow."""
        left = BODY_PATIENCE_SECONDS + self.bytes / LEAST_BYTES_PER_SECOND - self._spent
        begun = time.monotonic()
        try:
            return await asyncio.wait_for(step, min(left, BODY_PATIENCE_SECONDS))
        finally:
            self._spent += time.monotonic() - begun


async def _answer(send: Send, status: int, value: dict[str, Any], close: bool = False) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close or status != 200:
        headers.append((b"connection", b"close"))  # what is left of a refused body is not waited for
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
