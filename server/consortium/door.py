"""The gateway's door: how many connections there may be, counted from the moment they are taken, before TLS.

A connection that has not yet made a call of an admitted hospital is a stranger's. Where an address, or all together,
have as many connections as they may, the oldest stranger is put out for a new one; where there is none, the new one is
not taken. So strangers can hold no place that a hospital needs, and hospitals that are in stay in.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import resource
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HANDSHAKE_SECONDS = 5.0
HEAD_SECONDS = 20  # for the whole head of a request
_BACKLOG = 1024
_OTHER_FILES = 128  # that the process needs beside its connections
_FULL_SECONDS = 0.1  # before the next try where the system itself has no room
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: nothing waits, and the other side sees at once that it was put out

_log = logging.getLogger("fedthorax.gateway")


def room_for(wanted: int) -> int:
    """How many connections this process can hold, at most ``wanted``; raises its own limit of open files for them.

    Each may need two files: the hospital's connection, and the one to the SuperLink.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _OTHER_FILES
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    room = min(wanted, max((most - _OTHER_FILES) // 2, 16))
    if room < wanted:
        _log.warning(
            "this process may open %d files, so it takes %d connections instead of %d; raise the limit of open files "
            "(LimitNOFILE, ulimits) to %d", most, room, wanted, needed
        )  # fmt: skip
    return room


class Connection:
    """One taken connection. ``made`` once TLS stands; ``known`` once it has made a call of an admitted hospital."""

    def __init__(self, address: str, taken: socket.socket) -> None:
        self.address, self.socket, self.known, self.made = address, taken, False, False
        self.close: Callable[[], object] = taken.close


class Places:
    """The connections there are, oldest first; ``most`` of them, and ``most_per_address`` from one address."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._held: dict[Connection, None] = {}

    def take(self, taken: socket.socket, address: str) -> Connection | None:
        """A place for it, perhaps that of a stranger who is put out; None where there is none."""
        same = [held for held in self._held if held.address == address]
        for group, most in ((same, self._most_per_address), (self._held, self._most)):
            if len(group) >= most:
                stranger = next((held for held in group if not held.known), None)
                if stranger is None:
                    return None
                self.leave(stranger)
                stranger.close()
        connection = Connection(address, taken)
        self._held[connection] = None
        return connection

    def leave(self, connection: Connection) -> None:
        self._held.pop(connection, None)


def place_of(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, of which one machine can use all."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))


class DoorServer(uvicorn.Server):
    """uvicorn's server, which takes connections itself."""

    def __init__(self, config: uvicorn.Config, places: Places, listener: socket.socket) -> None:
        super().__init__(config)
        self._places, self._listener = places, listener
        self._handshakes: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers: list[asyncio.base_events.Server] = []
        self._taking = asyncio.create_task(self._take())
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in (self._taking, *self._handshakes):
            if task is not None:
                task.cancel()
        self._listener.close()
        await super().shutdown()

    async def _take(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken, peer = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _FULL:
                    _log.warning("no connection can be taken: %s", error.strerror)
                    await asyncio.sleep(_FULL_SECONDS)
                continue  # it had hung up before it was taken
            connection = self._places.take(taken, place_of(str(peer[0])))
            if connection is None:
                _reset(taken)
                continue
            task = asyncio.create_task(self._let_in(connection))
            self._handshakes.add(task)
            connection.close = task.cancel
            task.add_done_callback(partial(self._settled, connection))

    async def _let_in(self, connection: Connection) -> None:
        secure: dict[str, Any] = {}
        if self.config.ssl is not None:
            secure = {
                "ssl": self.config.ssl,
                "ssl_handshake_timeout": HANDSHAKE_SECONDS,
                "ssl_shutdown_timeout": HANDSHAKE_SECONDS,
            }
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: Protocol(connection, self._places, self.config, self.server_state), connection.socket, **secure
        )

    def _settled(self, connection: Connection, handshake: "asyncio.Task[None]") -> None:
        self._handshakes.discard(handshake)
        # Put out, perhaps before it had begun; no TLS; or too slow. What else it may be is the caller's fault as well.
        if handshake.cancelled() or handshake.exception() is not None:
            self._places.leave(connection)
            if connection.made:  # put out in the very moment in which TLS stood: asyncio holds the socket, and would
                connection.close()  # wait for the other side's farewell under a number that others get meanwhile
            else:
                _reset(connection.socket)


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1 in pure Python, which bounds the size of a request's head, with a time for it."""

    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, connection: Connection, places: Places, config: uvicorn.Config, state: Any) -> None:
        super().__init__(config, state, {"connection": connection})
        self._connection, self._places = connection, places

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._connection.close, self._connection.made = transport.abort, True
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._places.leave(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except (h11.ProtocolError, ValueError) as error:  # a length of 5,000 digits; garbage behind an answer
            _log.warning("a connection was broken off: no HTTP (%s)", type(error).__name__)
            self.transport.abort()
            return
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._await_head()
        else:
            self._stop_head_timer()

    def send_400_response(self, msg: str) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what the gateway is about to say is not said: one answer is enough
            if self.cycle.response_started:
                self.transport.abort()
                return
        super().send_400_response(msg)

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, for IPv4 as well where ``host`` is all of IPv6; OSError where the address is taken."""
    family, both = socket.AF_INET6 if ":" in host else socket.AF_INET, host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    listener.setblocking(False)
    return listener


def _reset(taken: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    taken.close()
