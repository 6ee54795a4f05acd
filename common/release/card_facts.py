"""What a model card says besides scores, thresholds and hashes: data, use, limits, scores by hospital and subgroup."""

from typing import Any

from fedthorax.common.ground.wording import joined
from fedthorax.common.metrics.scores import TASKS
from fedthorax.common.record.modalities import WORDS, lacking, without
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import CentralTest, Run
from fedthorax.common.report.subgroups import Groups, of_hospitals, of_task, reason_of

_FIGURES = ("roc_auc", "recall", "specificity")


def card_facts(run: Run, tested: bool) -> dict[str, Any]:
    """The card of a model for programs, but for what stands beside it in ``model.json``.

    Unless this is the selected model and was ``tested``, hospitals and subgroups are null. Subgroups hold the means
    that the card's table shows; metrics.json has every label.
    """
    absent = lacking(run)
    run = without(run, absent)
    return {
        "intended_use": intended_use(absent),
        "not_intended": not_intended(absent),
        "data": data_facts(run),
        "hospitals": hospital_facts(run) if tested else None,
        "subgroups": subgroup_facts(run) if tested else None,
        "limits": limits(run, run.test if tested else None),
    }


def intended_use(absent: Modality | None) -> str:
    images = {"xray": "Axial CT slices of the chest", "ct": "Frontal chest X-rays"}.get(
        absent or "", "Frontal chest X-rays, and axial CT slices of the chest"
    )
    return (
        f"Research on how hospitals can train together, and on the labels above. {images}, prepared as `model.json` "
        "says."
    )


def not_intended(absent: Modality | None) -> list[str]:
    last = "a joint reading of one patient's X-ray and CT, which was not tested: pairs are of different people"
    return [
        "any decision about a patient",
        "children or views that the data below do not hold",
        f"any answer about {WORDS[absent]}" if absent else last,
    ]


def data_facts(run: Run) -> list[dict[str, Any]]:
    """Images and patients by use; counts that a hospital hides count as none."""
    hospitals, central = list(run.passports.values()), [run.central.data]
    rows = (
        ("hospitals", hospitals, "train"),
        ("hospitals", hospitals, "valid"),
        ("server, selection and thresholds", central, "valid"),
        ("server, test", central, "test"),
    )
    found = []
    for name, holders, use in rows:
        splits = [split for data in holders if data for key, split in data.splits.items() if key == use]
        counts = ("xray", "xray_patients", "ct", "ct_patients")
        sums = {key: sum(getattr(split, key) or 0 for split in splits) for key in counts}
        found.append({"images": name, "use": use, **sums})
    return found


def hospital_facts(run: Run) -> dict[str, dict[str, float | None]]:
    """Of each hospital that was tested, the selected model on its own test images."""
    return {
        name: {
            "disease_roc_auc": site.test.mean("disease", "roc_auc"),
            "cancer_roc_auc": site.test.mean("cancer", "roc_auc"),
            "cancer_accuracy": site.test.mean("cancer", "accuracy"),
        }
        for name, site in run.sites.items()
        if site.test
    }


def subgroup_facts(run: Run) -> dict[str, Any]:
    """``central`` and ``hospitals.NAME``: task, attribute and group, with images, labels compared, and figures."""
    hospitals: dict[str, Any] = {}
    for task, _ in TASKS:
        for site, found in of_hospitals(run, task).items():
            hospitals.setdefault(site, {}).update({} if found is None else {task: _groups(found)})
    return {"central": {task: _groups(of_task(run, task)) for task, _ in TASKS}, "hospitals": hospitals}


def _groups(found: Groups) -> dict[str, Any]:
    return {
        attribute: {
            name: {
                "images": group.images,
                "labels": list(group.mean.labels) if group.mean else [],
                "reason": reason_of(group),
                **{
                    key: value.model_dump(mode="json", exclude_unset=True)
                    for key in _FIGURES
                    if (value := getattr(group.mean, key, None)) is not None
                },
            }
            for name, group in described.groups.items()
        }
        for attribute, described in found.items()
    }


def limits(run: Run, test: CentralTest | None) -> list[str]:
    """Sentences; ``run`` without the labels of a modality that nobody has, ``test`` of the selected model."""
    found = [
        "The figures hold for the test images above and say nothing about other hospitals, scanners or patients.",
        "Intervals cover the chance of which patients were tested, not that of the training: another seed gives "
        "another model.",
    ]
    rows = [item for task, _ in TASKS if test for item in test.head(task).rows.items()]
    if few := [name for name, row in rows if row.descriptive]:
        found.append(f"Too few test images to judge: {joined(few, limit=99)}.")
    if failed := sorted({failure.site for entry in run.rounds for failure in entry.failures}):
        found.append(f"Not every hospital took part in every round: {joined(failed, limit=20)} did not.")
    if run.status not in ("finished", "running"):
        found.append(f"The run ended as {run.status}.")
    return found
