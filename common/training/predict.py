"""Probabilities for image files, from a saved model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedthorax.common.data.decode import decode_image, fit_square
from fedthorax.common.training.network import batches
from fedthorax.common.training.saved_model import load_saved_model

_BATCH = 16


def predict_files(model_path: Path, xray_paths: Sequence[Path], ct_paths: Sequence[Path]) -> list[dict[str, Any]]:
    """One entry a pair: ``{"xray", "ct", "disease": {finding: probability}, "cancer": {class: probability},
    "predicted": {"findings": [...], "cancer_class"}}``.

    The network sees both modalities at once. As many CT slices as X-rays are paired in the order given; a single file
    on one side goes with each of the other side. Raises ValueError for other numbers and for files that are no images.
    """
    num_xray, num_ct = len(xray_paths), len(ct_paths)
    if not num_xray or not num_ct:
        raise ValueError(f"the model needs an X-ray and a CT slice, got {num_xray} X-rays and {num_ct} CT slices")
    if num_xray != num_ct and min(num_xray, num_ct) > 1:
        raise ValueError(
            f"{num_xray} X-rays and {num_ct} CT slices cannot be paired; give as many of each, or one of one kind"
        )
    saved = load_saved_model(model_path)
    size, aspect, threshold = (saved.facts[name] for name in ("image_size", "aspect", "threshold"))
    count = max(num_xray, num_ct)
    pairs = [(xray_paths[i % num_xray], ct_paths[i % num_ct]) for i in range(count)]
    results = []
    for rows in batches(count, _BATCH):
        inputs = {
            modality: np.stack([fit_square(decode_image(pairs[row][side]), size, aspect) for row in rows]).astype(
                "float32"
            )
            for side, modality in enumerate(("xray", "ct"))
        }
        outputs = saved.model(inputs, training=False)
        for row, disease, cancer in zip(
            rows, np.asarray(outputs["disease"]), np.asarray(outputs["cancer"]), strict=True
        ):
            found = {name: float(p) for name, p in zip(saved.findings, disease, strict=True)}
            classes = {name: float(p) for name, p in zip(saved.cancer_classes, cancer, strict=True)}
            results.append(
                {
                    "xray": str(pairs[row][0]),
                    "ct": str(pairs[row][1]),
                    "disease": found,
                    "cancer": classes,
                    "predicted": {
                        "findings": [name for name, p in found.items() if p >= threshold],
                        "cancer_class": saved.cancer_classes[int(np.argmax(cancer))],
                    },
                }
            )
    return results
