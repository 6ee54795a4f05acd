"""``fedthorax partition``: one collection dealt out to several hospitals."""

from pathlib import Path
from typing import Annotated

import typer


def partition(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write.")],
) -> None:
    """Deal out one collection of X-rays and CT slices to several hospitals.

    \b
    Example:
      fedthorax partition data/parts
    """
    raise NotImplementedError
