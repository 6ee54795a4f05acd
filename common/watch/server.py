"""The web server of the page: on this computer only, for reading only, of five fixed addresses.

A page of another site that a person has open could try to read from here: by an address of its own that it lets point
to this computer (DNS rebinding), which the Host header gives away, or directly, which browsers stop because no answer
allows it.
"""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fedthorax.common.watch.page import SCRIPT, STYLE, content, page
from fedthorax.common.watch.run_state import RunState

LOOPBACK = "127.0.0.1"
_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HTML, _SCRIPT, _STYLE = "text/html; charset=utf-8", "text/javascript; charset=utf-8", "text/css; charset=utf-8"
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


class WatchServer(ThreadingHTTPServer):
    """Serves the page of the run in ``path`` on ``port`` of the loopback address, 0 for any free one.

    Raises OSError with a message for people where the port is taken. ``serve_forever`` blocks; close it afterwards.
    """

    daemon_threads = True

    def __init__(self, path: Path, port: int = 0) -> None:
        self.state = RunState(path)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise OSError(
                f"port {port} of {LOOPBACK} cannot be used: {error.strerror}; choose another --port"
            ) from error

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: WatchServer
    timeout = 10
    server_version, sys_version = "FedThorax", ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if name.lower() not in _NAMES:
            self._send(HTTPStatus.FORBIDDEN, "text/plain", "this page is served under 127.0.0.1 and localhost only\n")
            return
        found = self._routes().get(self.path.partition("?")[0])
        body = found[1]() if found else None
        if found is None or body is None:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", "there is nothing here; the page is at /\n", with_body)
            return
        policy = {"Content-Security-Policy": _REPORT_POLICY} if self.path.startswith("/report") else {}
        self._send(HTTPStatus.OK, found[0], body, with_body, policy)

    def _routes(self) -> dict[str, tuple[str, Callable[[], str | None]]]:
        """Every address that there is. None of them names a file: nothing else of the disk can be asked for."""
        return {
            "/": (_HTML, lambda: self._of_the_run(page)),
            "/now": (_HTML, lambda: self._of_the_run(content)),
            "/watch.js": (_SCRIPT, lambda: SCRIPT),
            "/style.css": (_STYLE, lambda: STYLE),
            "/report": (_HTML, self._report),
        }

    def _of_the_run(self, draw: Callable[[RunState], str]) -> str:
        state = self.server.state
        with state.lock:
            state.refresh()
            return draw(state)

    def _report(self) -> str | None:
        try:
            return (self.server.state.path / "report.html").read_text(encoding="utf-8")
        except OSError:
            return None

    def _send(
        self, status: HTTPStatus, kind: str, text: str, with_body: bool = True, headers: dict[str, str] | None = None
    ) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {**_HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses by itself, such as another method: without its page, which has no policy."""
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(status, "text/plain", f"{status.phrase.lower()}\n", headers={"Allow": "GET, HEAD"})

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the person who started the command."""
