"""The gateway as a process: ``python -m fedthorax.server.consortium.gateway_process FOLDER [--insecure]``.

The certificate is read again when its file changes, for new connections, while present ones go on.
"""

import asyncio
import logging
import ssl
import sys
from pathlib import Path

import uvicorn

from fedthorax.server.consortium.bell import Bell
from fedthorax.server.consortium.door import DoorServer, Places, Protocol, listen, room_for
from fedthorax.server.consortium.folder import ConsortiumFolder
from fedthorax.server.consortium.gateway import Gateway
from fedthorax.server.consortium.members import Members
from fedthorax.server.consortium.object_desk import ObjectDesk
from fedthorax.server.consortium.refusals import FewOfAKind
from fedthorax.server.consortium.settings import ConsortiumSettings, refuse_plain_http, split_address

KEEP_ALIVE_SECONDS = 90  # SuperNodes ask every few seconds: one TLS handshake serves them all day
_CERTIFICATE_POLL_SECONDS = 2

_log = logging.getLogger("fedthorax.gateway")


def main(arguments: list[str]) -> None:
    insecure = "--insecure" in arguments
    folder = ConsortiumFolder(Path(next(a for a in arguments if not a.startswith("--"))).absolute())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(FewOfAKind())
    asyncio.run(serve(folder, folder.settings(), insecure))


async def serve(folder: ConsortiumFolder, settings: ConsortiumSettings, insecure: bool) -> None:
    """Serve until the process is told to end."""
    if insecure:
        refuse_plain_http(settings)
    host, port = split_address(settings.gateway_address)
    trusted = ssl.create_default_context(cafile=folder.loopback_certificate)
    application = Gateway(
        settings.name,
        settings.superlink_address,
        trusted,
        Members(folder, settings.unbound_calls),
        settings.largest_message_mb * 2**20,
        Bell(folder.mail_bell),
        Bell(folder.reply_bell),
        ObjectDesk(folder.objects),
        lambda: server.should_exit,
    )
    config = uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=32 * 1024,
        ssl_certfile=None if insecure else folder.server_certificate,
        ssl_keyfile=None if insecure else folder.server_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        config.ssl.options |= ssl.OP_NO_RENEGOTIATION
    places = Places(room_for(settings.connections), settings.connections_per_address)
    server = DoorServer(config, places, listen(host, port))
    renewal = asyncio.create_task(_follow_certificate(config.ssl, folder)) if config.ssl is not None else None
    try:
        await server.serve()
    finally:
        if renewal is not None:
            renewal.cancel()


async def _follow_certificate(context: ssl.SSLContext, folder: ConsortiumFolder) -> None:
    used = _version(folder)
    while True:
        await asyncio.sleep(_CERTIFICATE_POLL_SECONDS)
        present = _version(folder)
        if present == used:
            continue
        try:
            context.load_cert_chain(folder.server_certificate, folder.server_key)
        except (OSError, ssl.SSLError) as error:  # between the two files of a renewal; tried again
            _log.warning("the new certificate cannot be used yet: %s", error)
            continue
        used = present
        _log.info("certificate renewed")


def _version(folder: ConsortiumFolder) -> tuple[int, ...]:
    try:
        return tuple(path.stat().st_mtime_ns for path in (folder.server_certificate, folder.server_key))
    except FileNotFoundError:
        return ()


if __name__ == "__main__":
    main(sys.argv[1:])
