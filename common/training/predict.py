"""Probabilities for image files, from a saved model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.data import CT_WINDOWS, CacheConfig, CtWindow
from fedthorax.common.data.cache import DecodedImages, decode_all
from fedthorax.common.data.decode import Modality
from fedthorax.common.data.records import ImageRef
from fedthorax.common.training.network import batches
from fedthorax.common.training.saved_model import load_saved_model

_BATCH = 16


def predict_files(
    model_path: Path, xrays: Sequence[Path | ImageRef], slices: Sequence[Path | ImageRef]
) -> list[dict[str, Any]]:
    """One entry a pair: ``{"xray", "ct", "disease": {finding: probability}, "cancer": {class: probability},
    "predicted": {"findings": [...], "cancer_class"}}``.

    The network sees both modalities at once. One with tokens (``model.absent``) also takes X-rays or CT alone; then the
    path of the other is None, as are the probabilities that it would have told. As many CT slices as X-rays are
    paired in the order given; a single file on one side goes with each of the other side. Raises ValueError for other
    numbers and for files that are no images.
    """
    num_xray, num_ct = len(xrays), len(slices)
    if not num_xray and not num_ct:
        raise ValueError("there is nothing to predict from: got 0 X-rays and 0 CT slices")
    if num_xray != num_ct and min(num_xray, num_ct) > 1:
        raise ValueError(
            f"{num_xray} X-rays and {num_ct} CT slices cannot be paired; give as many of each, or one of one kind"
        )
    saved = load_saved_model(model_path)
    tokens = saved.facts.get("absent") == "token"
    if not tokens and not (num_xray and num_ct):
        raise ValueError(
            f"the model needs an X-ray and a CT slice, got {num_xray} X-rays and {num_ct} CT slices; only a model "
            "trained with model.absent: token answers for either alone"
        )
    size, aspect, threshold = (saved.facts[name] for name in ("image_size", "aspect", "threshold"))
    count = max(num_xray, num_ct)
    windows = [CtWindow(**window) for window in saved.facts.get("ct_windows", ())] or CT_WINDOWS

    def decoded(images: Sequence[Path | ImageRef], modality: Modality) -> DecodedImages:
        found = decode_all(images, size, aspect, CacheConfig(), None, modality, windows)
        if found.bad:
            bad = found.bad[0]
            raise ValueError(f"{ImageRef(bad.path, bad.frame)}: {bad.reason}")
        return found

    files: dict[str, Sequence[Path | ImageRef]] = {"xray": xrays, "ct": slices}
    images: dict[str, NDArray[np.uint8]] = {}
    if xrays:
        images["xray"] = decoded(xrays, "xray").images
    if slices:
        images["ct"] = decoded(slices, "ct").images
    pairs = [{kind: i % len(files[kind]) for kind in images} for i in range(count)]
    results = []
    for rows in batches(count, _BATCH):
        inputs = {
            modality: np.stack([images[modality][pairs[row][modality]] for row in rows]).astype("float32")
            if modality in images
            else np.zeros((len(rows), size, size, 3), "float32")
            for modality in files
        }
        if tokens:
            inputs |= {
                f"{kind}_present": np.full((len(rows), 1), bool(some), "float32") for kind, some in files.items()
            }
        outputs = saved.model(inputs, training=False)
        for row, disease, cancer in zip(
            rows, np.asarray(outputs["disease"]), np.asarray(outputs["cancer"]), strict=True
        ):
            found = {n: float(p) if num_xray else None for n, p in zip(saved.findings, disease, strict=True)}
            classes = {n: float(p) if num_ct else None for n, p in zip(saved.cancer_classes, cancer, strict=True)}
            results.append(
                {
                    "xray": str(xrays[pairs[row]["xray"]]) if num_xray else None,
                    "ct": str(slices[pairs[row]["ct"]]) if num_ct else None,
                    "disease": found,
                    "cancer": classes,
                    "predicted": {
                        "findings": [name for name, p in found.items() if p is not None and p >= threshold],
                        "cancer_class": saved.cancer_classes[int(np.argmax(cancer))] if num_ct else None,
                    },
                }
            )
    return results
