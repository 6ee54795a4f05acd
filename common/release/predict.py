"""What a saved model says about image files: calibrated probabilities, answers at its thresholds, and its record."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.check.flags import flags_of
from fedthorax.common.config.data import CacheConfig
from fedthorax.common.ground.wording import beside, number_of
from fedthorax.common.pixels.cache import DecodedImages, decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef
from fedthorax.common.release.grad_cam import GradCam, map_words, overlay, save_overlay
from fedthorax.common.release.model_facts import NOT_A_DEVICE
from fedthorax.common.release.saved_model import SavedModel, load_saved_model
from fedthorax.common.release.series_answers import series_answers, series_of
from fedthorax.common.training.augmentation import view_of
from fedthorax.common.training.batches import batches

_BATCH = 16
_MODALITIES: tuple[Modality, ...] = ("xray", "ct")


def predict_files(
    model: Path | SavedModel,
    xrays: Sequence[Path | ImageRef],
    slices: Sequence[Path | ImageRef],
    maps: Path | None = None,
    all_maps: bool = False,
    site: str | None = None,
    together: bool = False,
) -> dict[str, Any]:
    """The content of ``fedthorax predict --json``, as docs/predict.md describes it.

    A model with tokens (``model.absent``) also takes X-rays or CT slices alone; then the path of the other is None, as
    are the probabilities that it would have told. As many CT slices as X-rays are paired in the order given; a single
    file on one side goes with each of the other side. A pair with a file that is no image is ``skipped``. Into the
    folder ``maps`` go Grad-CAM overlays of what was answered with yes, or with ``all_maps`` of every label. ``site`` is
    a hospital with thresholds of its own. ``together``: as ``series_of`` has it. Raises ValueError for other numbers
    and where no pair can be answered.
    """
    num_xray, num_ct = len(xrays), len(slices)
    came = f"{number_of(num_xray, 'X-ray')} and {number_of(num_ct, 'CT slice')}"
    if not num_xray and not num_ct:
        raise ValueError("there is nothing to predict from: got 0 X-rays and 0 CT slices")
    if num_xray != num_ct and min(num_xray, num_ct) > 1:
        raise ValueError(f"{came} cannot be paired; give as many of each, or one of one kind")
    saved = load_saved_model(model, site) if isinstance(model, Path) else model
    tokens = saved.facts.get("absent") == "token"
    if not tokens and not (num_xray and num_ct):
        raise ValueError(
            f"the model looks at an X-ray and a CT slice together and has learnt no stand-in for a missing one, as "
            f"one trained with model.absent: token has; give both, got {came}"
        )
    size, aspect = saved.facts["image_size"], saved.facts["aspect"]
    count = max(num_xray, num_ct)

    refs: dict[Modality, Sequence[Path | ImageRef]] = {"xray": xrays, "ct": slices}
    found = {
        name: decode_all(files, size, aspect, CacheConfig(), None, name, saved.windows)
        for name, files in refs.items()
        if files
    }
    bad = {name: _faults(of, len(refs[name])) for name, of in found.items()}
    row_of = {name: {index: row for row, index in enumerate(of.kept)} for name, of in found.items()}
    answered: dict[int, dict[Modality, int]] = {}
    skipped: list[dict[str, Any]] = []
    for number in range(count):
        pair = {name: number % len(refs[name]) for name in found}
        reasons = [bad[name][index] for name, index in pair.items() if index in bad[name]]
        if reasons:
            skipped.append({**_files(refs, pair), "reasons": reasons})
        else:
            answered[number] = pair
    if not answered:
        more = f", and none of the other {count - 1} can be answered" if count > 1 else ""
        raise ValueError(f"{skipped[0]['reasons'][0]}{more}")
    flags = {
        name: {
            index: flags_of(refs[name][index], name, saved.windows)
            for index in {pair[name] for pair in answered.values()}
        }
        for name in found
    }
    grad_cam = GradCam(saved.model) if maps is not None else None
    results = []
    for part in batches(len(answered), _BATCH):
        numbers = [list(answered)[place] for place in part]
        rows = [{name: row_of[name][index] for name, index in answered[number].items()} for number in numbers]
        disease, cancer = _probabilities(saved, found, rows)
        for number, row, of_xray, of_ct in zip(numbers, rows, disease, cancer, strict=True):
            answer: dict[str, Any] = {
                **_files(refs, answered[number]),
                **_answer(saved, of_xray if num_xray else None, of_ct if num_ct else None),
                "flags": {str(name): flags[name][index] for name, index in answered[number].items()},
            }
            if grad_cam is not None and maps is not None:
                pictures = {str(name): found[name].images[index] for name, index in row.items()}
                answer["maps"] = _save_maps(grad_cam, pictures, answer, saved, maps / f"{number + 1:04d}", all_maps)
            results.append(answer)
    series = {str(ref): name for ref, name in zip(slices, series_of(slices, together), strict=True)}
    return {
        "notice": NOT_A_DEVICE,
        "site": site,
        "labels": label_facts(saved),
        "tested_by_patient": (saved.evaluation or {}).get("examinations"),
        "examinations": series_answers(saved, results, series),
        "predictions": results,
        "skipped": skipped,
    }


def _files(refs: Mapping[Modality, Sequence[Path | ImageRef]], pair: Mapping[Modality, int]) -> dict[str, str | None]:
    return {str(name): str(files[pair[name]]) if name in pair else None for name, files in refs.items()}


def _faults(found: DecodedImages, count: int) -> dict[int, str]:
    """What is wrong, by number, with those of ``count`` pictures that were not decoded."""
    missing = [index for index in range(count) if index not in set(found.kept)]
    return dict(zip(missing, map(str, found.bad), strict=True))


def _probabilities(
    saved: SavedModel, found: Mapping[Modality, DecodedImages], pairs: Sequence[Mapping[Modality, int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of ``pairs`` of rows of ``found``: disease (N, findings), cancer (N, classes), calibrated means over the model's
    views. A modality that was not ``found`` is told to be absent."""
    size, count = saved.facts["image_size"], len(pairs)
    sums: dict[str, NDArray[np.float64]] = {}
    for view in range(saved.views):
        inputs: dict[str, NDArray[np.float32]] = {}
        for modality in _MODALITIES:
            pictures = np.zeros((count, size, size, 3), np.float32)
            if modality in found:
                rows, of = [pair[modality] for pair in pairs], found[modality]
                digests = [of.digests[row] for row in rows]
                pictures = view_of(
                    of.images[rows].astype(np.float32), digests, saved.augmentation, view, may_flip=modality == "ct"
                )
            inputs[modality] = pictures
            if saved.facts.get("absent") == "token":
                inputs[f"{modality}_present"] = np.full((count, 1), modality in found, np.float32)
        for head, probability in saved.model(inputs, training=False).items():
            sums[head] = sums.get(head, 0) + np.asarray(probability, np.float64)
    return (
        saved.points.calibrated_disease(sums["disease"] / saved.views),
        saved.points.calibrated_cancer(sums["cancer"] / saved.views),
    )


def label_facts(saved: SavedModel) -> dict[str, Any]:
    """For each finding and class its ``threshold``, how it was chosen, and what the model's own test gave."""
    evaluation = saved.evaluation or {}

    def facts(task: str, group: str) -> dict[str, Any]:
        labels = getattr(saved.points, task)
        return {
            name: {
                "threshold": label.threshold,
                "method": label.method,
                "calibrated": (label.slope, label.intercept) != (1.0, 0.0)
                if task == "disease"
                else saved.points.cancer_temperature != 1.0,
                "reasons": list(label.reasons),
                "evaluation": evaluation.get(task, {}).get(group, {}).get(name),
            }
            for name, label in labels.items()
        }

    return {"disease": facts("disease", "per_finding"), "cancer": facts("cancer", "per_class")}


def _answer(
    saved: SavedModel, disease: NDArray[np.float64] | None, cancer: NDArray[np.float64] | None
) -> dict[str, Any]:
    """None: there was no such image, so nothing is said of its labels."""
    findings = _by_name(saved.findings, disease)
    classes = _by_name(saved.cancer_classes, cancer)
    points = saved.points
    return {
        "disease": findings,
        "cancer": classes,
        "predicted": {
            "findings": [name for name, p in findings.items() if p is not None and p >= points.disease[name].threshold],
            "cancer_class": None if cancer is None else saved.cancer_classes[int(np.argmax(cancer))],
            "cancer_above_threshold": [
                name for name, p in classes.items() if p is not None and p >= points.cancer[name].threshold
            ],
        },
    }


def _by_name(names: Sequence[str], values: NDArray[np.float64] | None) -> dict[str, float | None]:
    return {name: None if values is None else float(values[index]) for index, name in enumerate(names)}


def _save_maps(
    grad_cam: GradCam,
    pictures: Mapping[str, NDArray[np.uint8]],
    answer: Mapping[str, Any],
    saved: SavedModel,
    stem: Path,
    all_maps: bool,
) -> dict[str, dict[str, str]]:
    """The files written, by modality and label."""
    heat = grad_cam.maps(pictures)
    wanted = {"xray": answer["predicted"]["findings"], "ct": [answer["predicted"]["cancer_class"]]}
    written: dict[str, dict[str, str]] = {}
    for modality, task, names in (("xray", "disease", saved.findings), ("ct", "cancer", saved.cancer_classes)):
        if modality not in pictures:
            continue
        labels = getattr(saved.points, task)
        written[modality] = {}
        for index, name in enumerate(names):
            if not all_maps and name not in wanted[modality]:
                continue
            file = stem.with_name(f"{stem.name}-{modality}-{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.png")
            caption = "{}: {}, threshold {}".format(name, *beside(answer[task][name], labels[name].threshold))
            picture = overlay(pictures[modality], heat[modality][index])
            save_overlay(file, picture, [caption, *map_words(heat[modality][index]), NOT_A_DEVICE])
            written[modality][name] = str(file)
    return written
