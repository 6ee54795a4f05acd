"""Images of the central test with what spoke for the answer, as figures that hold their pictures themselves."""

import base64
from pathlib import Path
from typing import Any

from fedthorax.common.ground.wording import beside, figure
from fedthorax.common.record.examples import Example, read_examples


def example_figures(folder: Path) -> list[dict[str, Any]]:
    """``image`` and ``map`` as addresses of data; an example whose pictures are gone is left out."""
    found = []
    for example in read_examples(folder):
        try:
            pictures = {key: _address(folder / getattr(example, key)) for key in ("image", "map")}
        except OSError:
            continue
        kind = "X-ray" if example.modality == "xray" else "CT slice"
        found.append(
            {"right": example.right, "label": example.label, "kind": kind, "words": _words(example), **pictures}
        )
    return found


def _words(example: Example) -> str:
    if example.threshold is None:
        truth = "and so it is" if example.right else f"but it is {example.truth}"
        told = f"The model says {example.label} ({figure(example.probability)}), {truth}."
    else:
        says = "yes" if example.probability >= example.threshold else "no"
        probability, threshold = beside(example.probability, example.threshold)
        told = (
            f"{example.label} is {example.truth}, {'and' if example.right else 'but'} the model says {says} "
            f"({probability}, yes from {threshold} on)."
        )
    return " ".join([told, *example.notes])


def _address(picture: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.read_bytes()).decode()}"
