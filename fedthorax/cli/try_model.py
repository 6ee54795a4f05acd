"""``fedthorax try``: a page on which a person asks a model about images."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.files import model_file
from fedthorax.cli.output import console, near
from fedthorax.cli.quiet import import_tensorflow


def try_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, a .keras model or a packed .zip.")],
    site: Annotated[
        str | None, typer.Option(metavar="HOSPITAL", help="Use the calibration and thresholds of this hospital.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Ask MODEL about X-rays and CT on a web page: drop images, see them as the
    model sees them, its answers beside thresholds and its own test, and Grad-CAM.
    The page is for this computer only; images are not kept and go nowhere.
    Ctrl-C ends it.

    For research. This is not a medical device and must not guide treatment.

    \b
    Example:
      fedthorax try runs/demo --open
    """
    path, out = model_file(model), console()
    with console(to_stderr=True).status("loading TensorFlow and the model"):
        import_tensorflow()
        from fedthorax.common.page.local import serve
        from fedthorax.common.release.saved_model import load_saved_model
        from fedthorax.common.release.trial import trial_app

        app = trial_app(load_saved_model(path, site))

    def ready(address: str) -> None:
        out.print(f"{near(model)}: {address}  (Ctrl-C ends the page)", markup=False, soft_wrap=True)
        out.file.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    try:
        serve(app, port, ready)
    except KeyboardInterrupt:
        out.print("the page is closed", markup=False)
