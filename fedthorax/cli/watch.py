"""``fedthorax watch``: a run as a local web page, while it goes on."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import console, near


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/demo.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show RUN as a web page with the curves as they grow. The page is for this
    computer only, needs no network and changes nothing; Ctrl-C ends it, not the
    run.

    \b
    Example:
      fedthorax watch runs/demo
      fedthorax watch runs/demo --port 8080 --open
    """
    from fedthorax.common.watch import WatchServer
    from fedthorax.common.watch.run_state import require_run

    require_run(run)
    out = console()
    with WatchServer(run, port) as server:
        out.print(f"{near(run)}: {server.address}  (Ctrl-C ends the page, not the run)", markup=False, soft_wrap=True)
        out.file.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(server.address)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            out.print("the page is closed", markup=False)
