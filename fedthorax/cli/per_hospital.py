"""Options that say something of single hospitals: ``NAME=VALUE,VALUE``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedthorax.simulations.site_limits import SiteLimits

WithoutOption = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="NAME=xray|ct", help="Hospital that lacks a modality; may be repeated."),
]
AnnotatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--annotates", metavar="NAME=A,B,...", help="The only findings that a hospital annotates; may be repeated."
    ),
]


def site_limits(without: Sequence[str] | None, annotates: Sequence[str] | None) -> "SiteLimits":
    """Of both options. Raises ValueError for text of another form, or a hospital named twice."""
    from fedthorax.simulations.site_limits import SiteLimits

    return SiteLimits(
        _by_hospital("--without", without, "north=ct"), _by_hospital("--annotates", annotates, "north=Mass")
    )


def _by_hospital(option: str, given: Sequence[str] | None, example: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in given or ():
        name, equals, values = text.partition("=")
        parts = tuple(part.strip() for part in values.split(",") if part.strip())
        if not (name.strip() and equals and parts):
            raise ValueError(f"{option} {text}: expected a hospital, = and names with commas, such as {example}")
        if name.strip() in found:
            raise ValueError(f"{option} names {name.strip()} twice; give all its names at once, with commas")
        found[name.strip()] = parts
    return found
