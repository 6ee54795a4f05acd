"""What a model card says besides scores, thresholds and hashes: data, use, limits, scores by hospital and subgroup."""

from collections.abc import Mapping
from typing import Any

from fedthorax.common.ground.wording import UNDEFINED, at, joined
from fedthorax.common.page.modalities import WORDS, lacking, without
from fedthorax.common.report.subgroups import TASKS, of_hospitals, of_task

_LABELS = (("xray", "disease", "per_finding"), ("ct", "cancer", "per_class"))
_FIGURES = ("roc_auc", "recall", "specificity")


def card_facts(metrics: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    """The card of a model for programs, but for what stands beside it in ``model.json``.

    ``evaluation`` is null unless this is the selected model and it was tested; then hospitals and subgroups are null
    too. Subgroups hold the means that the card's table shows; metrics.json has every label.
    """
    absent = lacking(metrics)
    metrics = without(metrics, absent)
    tested = evaluation is not None
    return {
        "intended_use": intended_use(absent),
        "not_intended": not_intended(absent),
        "data": data_facts(metrics),
        "hospitals": hospital_facts(metrics) if tested else None,
        "subgroups": subgroup_facts(metrics) if tested else None,
        "limits": limits(evaluation, metrics),
    }


def intended_use(absent: str | None) -> str:
    images = {"xray": "Axial CT slices of the chest", "ct": "Frontal chest X-rays"}.get(
        absent or "", "Frontal chest X-rays, and axial CT slices of the chest"
    )
    return (
        f"Research on how hospitals can train together, and on the labels above. {images}, prepared as `model.json` "
        "says."
    )


def not_intended(absent: str | None) -> list[str]:
    last = "a joint reading of one patient's X-ray and CT, which was not tested: pairs are of different people"
    return [
        "any decision about a patient",
        "children or views that the data below do not hold",
        f"any answer about {WORDS[absent]}" if absent else last,
    ]


def data_facts(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Images and patients by use; counts that a hospital hides count as none."""
    sites = metrics.get("sites") or {}
    rows = [("hospitals", [at(site, "data") for site in sites.values()], split) for split in ("train", "valid")]
    central = [at(metrics, "central", "data")]
    rows += [("server, selection and thresholds", central, "valid"), ("server, test", central, "test")]
    return [
        {
            "images": name,
            "use": split,
            **{
                key: sum(at(data, "splits", split, key) or 0 for data in holders)
                for key in ("xray", "xray_patients", "ct", "ct_patients")
            },
        }
        for name, holders, split in rows
    ]


def hospital_facts(metrics: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Of each hospital that was tested, the selected model on its own test images."""
    return {
        name: {
            "disease_roc_auc": at(site, "test", "disease", "macro", "roc_auc"),
            "cancer_roc_auc": at(site, "test", "cancer", "macro", "roc_auc"),
            "cancer_accuracy": at(site, "test", "cancer", "accuracy"),
        }
        for name, site in (metrics.get("sites") or {}).items()
        if at(site, "test")
    }


def subgroup_facts(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """``central`` and ``hospitals.NAME``: task, attribute and group, with images, labels compared, and figures."""
    return {
        "central": {task: _groups(of_task(metrics, task)) for task, _ in TASKS},
        "hospitals": {
            site: {
                task: _groups(found) for task, _ in TASKS if (found := of_hospitals(metrics, task)[site]) is not None
            }
            for site in of_hospitals(metrics, TASKS[0][0])
        },
    }


def _groups(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        attribute: {
            name: {
                "images": group.get("images"),
                "labels": at(group, "mean", "labels") or [],
                "reason": group.get("reason") or at(group, "mean", "reason"),
                **{key: value for key in _FIGURES if (value := at(group, "mean", key)) is not None},
            }
            for name, group in described["groups"].items()
        }
        for attribute, described in found.items()
    }


def limits(evaluation: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> list[str]:
    """Sentences; ``metrics`` without the labels of a modality that nobody has."""
    found = [
        "The figures hold for the test images above and say nothing about other hospitals, scanners or patients.",
        "Intervals cover the chance of which patients were tested, not that of the training: another seed gives "
        "another model.",
    ]
    absent = lacking(metrics)
    few = [
        name
        for modality, task, group in _LABELS
        if modality != absent
        for name, row in (at(evaluation, task, group) or {}).items()
        if row.get("descriptive")
    ]
    if few:
        found.append(f"Too few test images to judge: {joined(few, limit=99)}.")
    failed = sorted({failure["site"] for one in metrics.get("rounds") or [] for failure in one.get("failures") or []})
    if failed:
        found.append(f"Not every hospital took part in every round: {joined(failed, limit=20)} did not.")
    if metrics.get("status") not in ("finished", "running"):
        found.append(f"The run ended as {metrics.get('status') or UNDEFINED}.")
    return found
