"""Which kinds of images a run has at all: a report on X-rays alone does not show the other head's empty figures."""

from collections.abc import Mapping
from typing import Any

from fedthorax.common.ground.wording import at

WORDS = {"xray": "X-rays", "ct": "CT slices"}
_TASK = {"xray": "disease", "ct": "cancer"}
_ROWS = {"xray": "per_finding", "ct": "per_class"}
_LABELS = {"xray": "findings", "ct": "cancer_classes"}


def lacking(metrics: Mapping[str, Any]) -> str | None:
    """The modality of which neither a hospital nor the server holds an image; None where there are both, or where
    somebody has not told. A count that a hospital hides is not 0."""
    everyone = [at(site, "data") for site in (metrics.get("sites") or {}).values()]
    everyone.append(at(metrics, "central", "data"))
    splits = [split for data in everyone for split in (at(data, "splits") or {}).values() if split]
    if not splits or not all(everyone):
        return None
    absent = [modality for modality in WORDS if all(split.get(modality) == 0 for split in splits)]
    return absent[0] if len(absent) == 1 else None


def without(metrics: Mapping[str, Any], modality: str | None) -> Mapping[str, Any]:
    """The metrics less the labels of a modality that nobody has, and the empty scores of its head."""
    if modality is None:
        return metrics
    task = _TASK[modality]
    sites = {
        name: {
            **site,
            **_without_scores(site, modality),
            "operating_points": _without_key(site, "operating_points", task),
        }
        for name, site in (metrics.get("sites") or {}).items()
    }
    return {
        **metrics,
        **_without_scores(metrics, modality),
        "labels": {**(metrics.get("labels") or {}), _LABELS[modality]: []},
        "operating_points": _without_key(metrics, "operating_points", task),
        "pooled": _without_pooled(metrics.get("pooled"), task),
        "sites": sites,
    }


def _without_pooled(pooled: Mapping[str, Any] | None, task: str) -> Any:
    return pooled and {**pooled, task: {}, "by_site": {**(pooled.get("by_site") or {}), task: {}}}


def _without_key(holder: Mapping[str, Any], key: str, task: str) -> Any:
    return {**holder[key], task: {}} if holder.get(key) else None


def _without_scores(holder: Mapping[str, Any], modality: str) -> dict[str, Any]:
    task = _TASK[modality]
    found = {}
    for key in ("test", "test_with_duplicates", "test_at_own_thresholds"):
        if scores := holder.get(key):
            parts = {part: _without_key(scores, part, task) for part in ("intervals", "curves") if scores.get(part)}
            if scores.get("calibration"):
                parts["calibration"] = {
                    when: {**told, task: {} if modality == "xray" else None}
                    for when, told in scores["calibration"].items()
                }
            found[key] = {**scores, task: {_ROWS[modality]: {}}, **parts, "by_given": None}
    return found
