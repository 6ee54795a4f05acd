"""``fedthorax try``: a page on which a person asks a model about images."""

from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.files import model_file
from fedthorax.cli.local_page import OpenOption, PortOption, serve_page
from fedthorax.cli.output import console


def try_model(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run folder, a .keras model or a packed .zip.")],
    site: Annotated[
        str | None, typer.Option(metavar="HOSPITAL", help="Use the calibration and thresholds of this hospital.")
    ] = None,
    port: PortOption = 0,
    open_browser: OpenOption = False,
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
    path = model_file(model)
    with console(to_stderr=True).status("loading TensorFlow and the model"):
        from fedthorax.common.release.saved_model import load_saved_model
        from fedthorax.common.release.trial import trial_app

        app = trial_app(load_saved_model(path, site))
    serve_page(app, port, model, "ends the page", open_browser)
