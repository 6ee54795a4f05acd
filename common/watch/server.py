"""The addresses of the page of a run. None of them names a file: nothing else of the disk can be asked for."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from fedthorax.common.watch.page import SCRIPT, STYLE, content, page
from fedthorax.common.watch.run_state import RunState

_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def watch_app(path: Path) -> Starlette:
    """The page of the run in ``path``, for reading only. To be served by ``page.local``, which keeps others away."""
    state = RunState(path)

    def of_the_run(draw: Callable[[RunState], str]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            with state.lock:
                state.refresh()
                return HTMLResponse(draw(state))

        return answer

    def text(content: str, kind: str) -> Callable[[Request], Response]:
        return lambda request: Response(content, media_type=kind)

    def report(request: Request) -> Response:
        with contextlib.suppress(OSError):  # not written yet
            policy = {"Content-Security-Policy": _REPORT_POLICY}
            return HTMLResponse((path / "report.html").read_bytes(), headers=policy)
        raise HTTPException(404)

    async def nothing(request: Request, error: Exception) -> Response:
        return PlainTextResponse("there is nothing here; the page is at /\n", 404)

    return Starlette(
        routes=[
            Route("/", of_the_run(page)),
            Route("/now", of_the_run(content)),
            Route("/watch.js", text(SCRIPT, "text/javascript")),
            Route("/style.css", text(STYLE, "text/css")),
            Route("/report", report),
        ],
        exception_handlers={404: nothing},
    )
