"""The examples of a run: a few central test images with what spoke for the answers, kept in ``examples/``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.metrics.figures import Share

INDEX = "examples.json"
_Picture = Annotated[str, Field(pattern=r"^[0-9]+-(image|map)\.jpg$")]  # below the folder, and nowhere else


class Example(Frozen):
    """One answer about one image. ``label`` is what the map speaks of: the finding, or the class that the model said;
    ``truth`` is present or absent, or the true class. ``probability`` is calibrated; a class has no ``threshold``.
    ``file`` is below the source folder, ``notes`` is what must be said of the map."""

    modality: Literal["xray", "ct"]
    label: str
    truth: str
    right: bool
    probability: Share
    threshold: Share | None
    file: str
    image: _Picture
    map: _Picture
    notes: Annotated[tuple[str, ...], Field(strict=False)] = ()


EXAMPLES = TypeAdapter(tuple[Example, ...])


def read_examples(folder: Path) -> tuple[Example, ...]:
    """None where the run has no examples, or its list is damaged: the report must be written all the same."""
    try:
        return EXAMPLES.validate_json((folder / INDEX).read_bytes(), strict=False)
    except (OSError, ValidationError):
        return ()
