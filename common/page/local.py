"""Pages for the person at this computer: served on its loopback address, to its own browser, to no other page.

A page of another site that is open in the same browser could try to read or to ask here: by a name of its own that it
lets point to this computer (DNS rebinding), which Host gives away, or across sites, which Origin does.
"""

import socket
from collections.abc import Callable

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class OnlyHere:
    """Around an application: refuses other names and other pages, and says in each answer what a browser may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refused = _refused(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(refused + "\n", 403) if refused else self._app
        await app(scope, receive, with_headers)


def _refused(method: str, headers: Headers) -> str | None:
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in (LOOPBACK, "localhost"):
        return "this page is served under 127.0.0.1 and localhost only"
    if method not in ("GET", "HEAD") and headers.get("origin") != f"http://{host}":
        return "only this page itself may ask here"
    return None


def serve(app: ASGIApp, port: int, ready: Callable[[str], None]) -> None:
    """Until the person ends it (KeyboardInterrupt); ``port`` 0 is any free one, ``ready`` is told the address.

    Raises OSError with a message for people where the port is taken.
    """
    try:
        listening = socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise OSError(f"port {port} of {LOOPBACK} cannot be used: {error.strerror}; choose another --port") from error
    with listening:
        ready(f"http://{LOOPBACK}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(
            OnlyHere(app),
            log_level="error",
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        uvicorn.Server(config).run(sockets=[listening])
