"""Commands that are a web page for the person at this computer."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedthorax.cli.output import console, near

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
OpenOption = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def serve_page(app: "ASGIApp", port: int, of: Path, ends: str, open_browser: bool) -> None:
    """Serve the page ``of`` a folder or file until Ctrl-C, which ``ends`` in words."""
    from fedthorax.common.page.local import serve

    out = console()

    def ready(address: str) -> None:
        out.print(f"{near(of)}: {address}  (Ctrl-C {ends})", markup=False, soft_wrap=True)
        out.file.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):  # not raised where the shell that started this ignores Ctrl-C
        serve(app, port, ready)
    out.print("the page is closed", markup=False)
