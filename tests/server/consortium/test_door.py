"""Connections that are put out at the door, in one process."""

import asyncio
import socket
import ssl
from typing import Any

import pytest
import uvicorn

from fedthorax.server.consortium.door import DoorServer, Places, Protocol, listen
from fedthorax.server.consortium.folder import ConsortiumFolder


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nobody calls")


def handshake(address: tuple[str, int], trusting: ssl.SSLContext) -> ssl.SSLSocket:
    """TLS, and then not a byte more: no answer to a farewell either."""
    return trusting.wrap_socket(socket.create_connection(address, timeout=20))


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine knows one of IPv4 and IPv6")
def test_all_of_ipv6_is_all_of_ipv4_as_well() -> None:
    with listen("::", 0) as listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listener.getsockname()[1]), timeout=20).close()


def test_who_is_put_out_in_the_moment_in_which_tls_stands_leaves_no_file_number_to_the_next_connection(
    folder: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Protocol.connection_made
    put_out = list[Protocol]()

    def late(self: Protocol, transport: asyncio.Transport) -> None:
        if not put_out:  # as where another takes the place in the same turn of the loop
            put_out.append(self)
            self._connection.close()
        made(self, transport)

    monkeypatch.setattr(Protocol, "connection_made", late)
    certificate, key = folder.server_certificate, folder.server_key
    config = uvicorn.Config(
        nothing, http=Protocol, ws="none", lifespan="off", log_config=None, ssl_certfile=certificate, ssl_keyfile=key
    )
    config.load()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE

    async def tried() -> None:
        listener = listen("127.0.0.1", 0)
        server = DoorServer(config, Places(4, 4), listener)
        await server.startup()
        try:
            with await asyncio.to_thread(handshake, listener.getsockname()[:2], trusting):
                while not put_out or server._handshakes or put_out[0]._connection.socket.fileno() != -1:
                    await asyncio.sleep(0.01)
                for _ in range(4):
                    _, other = await asyncio.open_connection(*listener.getsockname()[:2])
                    other.transport.abort()
        finally:
            assert server._taking is not None
            server._taking.cancel()
            listener.close()
            await asyncio.sleep(0.1)

    asyncio.run(tried())
