"""What a hospital says about thresholds of its own, looked at before it is written down and travels with the model."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.metrics.operating import OperatingPoints


def check_own_thresholds(results: Mapping[str, Any], site: str, labels: LabelsConfig) -> None:
    """ValueError unless ``operating_points`` are null, or of this hospital and of all labels of a task, or of none."""
    told = results.get("operating_points")
    if told is None:
        return
    try:
        points = OperatingPoints.model_validate_json(json.dumps(told))
    except ValidationError as error:
        raise ValueError(f"{error.errors()[0]['msg']} at {'.'.join(map(str, error.errors()[0]['loc']))}") from error
    if points.site != site:
        raise ValueError(f"they are of {points.site!r}")
    for mine, wanted in ((points.disease, labels.findings), (points.cancer, labels.cancer_classes)):
        if mine and tuple(mine) != tuple(wanted):
            raise ValueError(f"they are of {', '.join(mine)[:200]}, expected {', '.join(wanted)}")
