"""``fedthorax weights``: pretrained weights of a backbone, when a person asks for them."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from fedthorax.cli.output import JsonOption, print_json, say

weights = typer.Typer(no_args_is_help=True, help="Get, check and show pretrained weights.")

Backbone = Annotated[str, typer.Argument(metavar="BACKBONE", help="As in model.backbone.")]


@weights.command("get", short_help="Download ImageNet weights, or copy them from a file.")
def get(
    backbone: Backbone = "EfficientNetB0",
    given: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Copy this file instead of downloading one.")
    ] = None,
) -> None:
    """Download ImageNet weights, from Keras' address and compared with Keras'
    hash, to where `model.weights: imagenet` looks. No other command downloads.

    \b
    Example:
      fedthorax weights get EfficientNetB0
      fedthorax weights get EfficientNetB0 --from efficientnetb0_notop.h5
    """
    from fedthorax.common.model.published import get_weights

    say(f"weights: {get_weights(backbone, given)}")


@weights.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A weights file without the top.")],
    backbone: Annotated[str, typer.Option(metavar="NAME", help="As in model.backbone.")] = "EfficientNetB0",
) -> None:
    """Load FILE into a backbone and say whether it fits.

    \b
    Example:
      fedthorax weights check efficientnetb0_notop.h5
    """
    from fedthorax.common.model.published import check_weights

    repaired = check_weights(backbone, file)
    note = "; it keeps a deviation where a variance belongs, which is put right on loading" if repaired else ""
    say(f"{file} fits {backbone}{note}")


@weights.command("show")
def show(as_json: JsonOption = False) -> None:
    """List the backbones whose ImageNet weights are on this machine.

    \b
    Example:
      fedthorax weights show
    """
    from fedthorax.common.model.backbone import backbone_names
    from fedthorax.common.model.pretrained import find_weights, weights_place

    found: dict[str, str] = {}
    for name in backbone_names():
        with contextlib.suppress(FileNotFoundError):
            found[name] = str(find_weights("imagenet", name))
    place = weights_place("EfficientNetB0").parent
    if as_json:
        print_json({"folder": str(place), "weights": found})
        return
    for name, file in found.items():
        say(f"{name}: {file}")
    say(f"others go into {place}: fedthorax weights get BACKBONE")
