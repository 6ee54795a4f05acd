"""What a hospital says about its subgroups, looked at before it is written down and shown in reports."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.ground.frozen import Frozen

MOST_GROUPS = 100  # of an attribute: scanners have names, and a list without end would swell every report

_Share = Annotated[float, Field(ge=0, le=1)]
_Gap = Annotated[float, Field(ge=-1, le=1)]
_Images = Annotated[int, Field(ge=0)]
_Name = Annotated[str, Field(max_length=200)]


class _Figure(Frozen):
    value: _Share | None
    interval: Annotated[tuple[_Share, _Share] | None, Field(strict=False)]
    others: _Share | None
    gap: _Gap | None
    gap_interval: Annotated[tuple[_Gap, _Gap] | None, Field(strict=False)]


class _Label(Frozen):
    support: _Images | None
    known: _Images | None
    descriptive: bool
    reason: _Name | None
    roc_auc: _Figure | None = None
    recall: _Figure | None = None
    specificity: _Figure | None = None


class _Mean(Frozen):
    labels: Annotated[tuple[str, ...], Field(strict=False)]
    reason: _Name | None
    roc_auc: _Figure
    recall: _Figure
    specificity: _Figure


class _Group(Frozen):
    images: _Images | None
    reason: None
    mean: _Mean
    labels: dict[str, _Label]


class _Hidden(Frozen):
    images: None
    reason: _Name


class _Attribute(Frozen):
    unknown: _Images | None
    groups: Annotated[dict[_Name, _Group | _Hidden], Field(max_length=MOST_GROUPS)]


_TASK: TypeAdapter[Any] = TypeAdapter(dict[Literal["sex", "age_years", "view", "scanner"], _Attribute] | None)


def check_own_subgroups(told: Any, labels: LabelsConfig) -> None:
    """ValueError unless ``told`` is null, or figures as subgroup_scores gives them of the experiment's labels; a task
    that the hospital keeps to itself is null."""
    if told is None:
        return
    wanted = {"disease": labels.findings, "cancer": labels.cancer_classes}
    if not isinstance(told, dict) or set(told) != set(wanted):
        raise ValueError(f"expected those of disease and cancer, got {str(told)[:80]}")
    for task, names in wanted.items():
        try:
            attributes = _TASK.validate_json(json.dumps(told[task]))
        except ValidationError as error:
            raise ValueError(f"{error.errors()[0]['msg']} at {'.'.join(map(str, error.errors()[0]['loc']))}") from error
        for one in (attributes or {}).values():
            for group in one.groups.values():
                if isinstance(group, _Group) and (
                    tuple(group.labels) != tuple(names) or set(group.mean.labels) - set(names)
                ):
                    raise ValueError(f"they are of {', '.join(group.labels)[:200]}, expected {', '.join(names)}")
