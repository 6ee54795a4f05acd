"""Probabilities for image files, from a saved model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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

    The network sees both modalities at once. As many CT slices as X-rays are paired in the order given; a single file
    on one side goes with each of the other side. Raises ValueError for other numbers and for files that are no images.
    """
    num_xray, num_ct = len(xrays), len(slices)
    if not num_xray or not num_ct:
        raise ValueError(f"the model needs an X-ray and a CT slice, got {num_xray} X-rays and {num_ct} CT slices")
    if num_xray != num_ct and min(num_xray, num_ct) > 1:
        raise ValueError(
            f"{num_xray} X-rays and {num_ct} CT slices cannot be paired; give as many of each, or one of one kind"
        )
    saved = load_saved_model(model_path)
    size, aspect, threshold = (saved.facts[name] for name in ("image_size", "aspect", "threshold"))
    count = max(num_xray, num_ct)
    windows = [CtWindow(**window) for window in saved.facts.get("ct_windows", ())] or CT_WINDOWS

    def decoded(images: Sequence[Path | ImageRef], modality: Modality) -> DecodedImages:
        found = decode_all(images, size, aspect, CacheConfig(), None, modality, windows)
        if found.bad:
            bad = found.bad[0]
            raise ValueError(f"{ImageRef(bad.path, bad.frame)}: {bad.reason}")
        return found

    images = {"xray": decoded(xrays, "xray").images, "ct": decoded(slices, "ct").images}
    pairs = [{"xray": i % num_xray, "ct": i % num_ct} for i in range(count)]
    results = []
    for rows in batches(count, _BATCH):
        inputs = {
            modality: np.stack([images[modality][pairs[row][modality]] for row in rows]).astype("float32")
            for modality in ("xray", "ct")
        }
        outputs = saved.model(inputs, training=False)
        for row, disease, cancer in zip(
            rows, np.asarray(outputs["disease"]), np.asarray(outputs["cancer"]), strict=True
        ):
            found = {name: float(p) for name, p in zip(saved.findings, disease, strict=True)}
            classes = {name: float(p) for name, p in zip(saved.cancer_classes, cancer, strict=True)}
            results.append(
                {
                    "xray": str(xrays[pairs[row]["xray"]]),
                    "ct": str(slices[pairs[row]["ct"]]),
                    "disease": found,
                    "cancer": classes,
                    "predicted": {
                        "findings": [name for name, p in found.items() if p >= threshold],
                        "cancer_class": saved.cancer_classes[int(np.argmax(cancer))],
                    },
                }
            )
    return results
