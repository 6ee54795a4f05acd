"""``fedthorax watch``: a run as a local web page, while it goes on."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.local_page import OpenOption, PortOption, serve_page


def watch(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/demo.")],
    port: PortOption = 0,
    open_browser: OpenOption = False,
) -> None:
    """Show RUN as a web page with the curves as they grow. The page is for this
    computer only, needs no network and changes nothing; Ctrl-C ends it, not the
    run.

    \b
    Example:
      fedthorax watch runs/demo
      fedthorax watch runs/demo --port 8080 --open
    """
    from fedthorax.common.watch.run_state import require_run
    from fedthorax.common.watch.server import watch_app

    require_run(run)
    serve_page(watch_app(run), port, run, "ends the page, not the run", open_browser)
