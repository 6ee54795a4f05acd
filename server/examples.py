"""A few of the lead's own test images, with what spoke for the answer, right and wrong ones: for looking at the model.

Drawn at random among answers of each kind, not the most impressive ones. Never of a hospital: only the central test.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fedthorax.common.ground.atomic_write import write_bytes
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.record.examples import EXAMPLES, INDEX, Example
from fedthorax.common.release.grad_cam import GradCam, map_words, overlay
from fedthorax.common.training.network import Network
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.central import CentralData

_SIDE, _QUALITY = 224, 85  # pixels; about 8 kB a picture
_XRAY_KINDS = ("hit", "miss", "false alarm")
_CT_KINDS = ("right", "wrong", "right")

Chosen = tuple[int, int]  # row of the test split, column of the label


def write_examples(
    folder: Path, network: Network, central: CentralData, predictions: Predictions, points: OperatingPoints
) -> int:
    """``examples.json`` and two pictures an example into ``folder``; how many there are.

    ``network`` has the weights and ``predictions`` are the calibrated ones that the central test was scored with.
    """
    wanted, seed = network.experiment.evaluation.examples, network.experiment.seed
    if not wanted:
        return 0
    rng = np.random.default_rng(derive_seed(seed, "examples"))
    findings = drawn(_finding_kinds(central, predictions, points), _XRAY_KINDS, wanted - wanted // 2, rng)
    classes = drawn(_class_kinds(central, predictions), _CT_KINDS, wanted - len(findings), rng)
    cam = GradCam(network.model)
    if not findings and not classes:
        return 0
    folder.mkdir(exist_ok=True)
    found: list[Example] = []
    for place in range(max(len(findings), len(classes))):
        # The model looks at pairs: an example's partner is an example of the other kind.
        pair = {name: chosen[place % len(chosen)] for name, chosen in (("xray", findings), ("ct", classes)) if chosen}
        images = {name: getattr(central.test, name).images[row] for name, (row, _) in pair.items()}
        heat = cam.maps(images)
        for name, (row, column) in pair.items():
            if place < len(findings if name == "xray" else classes):
                example = _described(name, row, column, len(found), central, predictions, points)
                notes = tuple(map_words(heat[name][column]))
                found.append(example.model_copy(update={"notes": notes}))
                _write(folder / example.image, Image.fromarray(images[name]))
                _write(folder / example.map, overlay(images[name], heat[name][column]))
    write_bytes(folder / INDEX, [EXAMPLES.dump_json(tuple(found), indent=1) + b"\n"])
    return len(found)


def drawn(kinds: dict[str, list[Chosen]], order: Sequence[str], number: int, rng: np.random.Generator) -> list[Chosen]:
    """Of each kind in turn one at random, of a label that was shown least; another kind where there is none left."""
    found: list[Chosen] = []
    for place in range(number):
        turn = order[place % len(order)]
        for kind in (turn, *(other for other in dict.fromkeys(order) if other != turn)):
            rows = {row for row, _ in found}
            left = [one for one in kinds[kind] if one[0] not in rows]
            if left:
                shown = [column for _, column in found]
                least = min(shown.count(column) for _, column in left)
                labels = sorted({column for _, column in left if shown.count(column) == least})
                label = labels[rng.integers(len(labels))]
                of_label = [one for one in left if one[1] == label]
                found.append(of_label[rng.integers(len(of_label))])
                break
    return found


def _finding_kinds(central: CentralData, predictions: Predictions, points: OperatingPoints) -> dict[str, list[Chosen]]:
    truth, probability = central.test.xray.targets, predictions.disease
    said = probability >= np.array(points.disease_thresholds)
    known = ~np.isnan(probability)
    masks = {
        "hit": (truth == 1) & said & known,
        "miss": (truth == 1) & ~said & known,
        "false alarm": (truth == 0) & said & known,
    }
    return {kind: _places(mask) for kind, mask in masks.items()}


def _class_kinds(central: CentralData, predictions: Predictions) -> dict[str, list[Chosen]]:
    truth, probability = central.test.ct.targets, predictions.cancer
    known = (truth >= 0) & ~np.isnan(probability).any(axis=1)
    said = np.zeros(probability.shape, bool)
    said[known, probability[known].argmax(axis=1)] = True
    right = said & (truth[:, None] == np.arange(probability.shape[1]))
    return {"right": _places(right), "wrong": _places(said & ~right)}


def _places(mask: np.ndarray) -> list[Chosen]:
    return [(int(row), int(column)) for row, column in zip(*np.nonzero(mask), strict=True)]


def _described(
    modality: str,
    row: int,
    column: int,
    number: int,
    central: CentralData,
    predictions: Predictions,
    points: OperatingPoints,
) -> Example:
    if modality == "xray":
        present = bool(central.test.xray.targets[row, column] == 1)
        probability, threshold = float(predictions.disease[row, column]), points.disease_thresholds[column]
        label, truth = list(points.disease)[column], "present" if present else "absent"
        right = present == (probability >= threshold)
    else:
        names, true = list(points.cancer), int(central.test.ct.targets[row])
        probability, threshold = float(predictions.cancer[row, column]), None
        label, truth, right = names[column], names[true], true == column
    return Example(
        modality="xray" if modality == "xray" else "ct",
        label=label,
        truth=truth,
        right=right,
        probability=probability,
        threshold=threshold,
        file=central.name_of(modality, row),
        image=f"{number:02d}-image.jpg",
        map=f"{number:02d}-map.jpg",
    )


def _write(path: Path, picture: Image.Image) -> None:
    stream = io.BytesIO()
    picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=_QUALITY)
    write_bytes(path, [stream.getvalue()])
