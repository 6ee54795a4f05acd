"""Which kinds of images a run has at all: a report on X-rays alone does not show the other head's empty figures."""

from typing import Any, TypeVar

from fedthorax.common.metrics.scores import Heads, Task
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import Run

WORDS: dict[Modality, str] = {"xray": "X-rays", "ct": "CT slices"}
TASK_OF: dict[Modality, Task] = {"xray": "disease", "ct": "cancer"}
_H = TypeVar("_H", bound=Heads)


def lacking(run: Run) -> Modality | None:
    """The modality of which neither a hospital nor the server holds an image; None where there are both, or where
    somebody has not told. A count that a hospital hides is not 0."""
    everyone = [*run.passports.values(), run.central.data]
    splits = [split for data in everyone if data for split in data.splits.values()]
    if not splits or None in everyone:
        return None
    absent = [modality for modality in WORDS if all(getattr(split, modality) == 0 for split in splits)]
    return absent[0] if len(absent) == 1 else None


def without(run: Run, modality: Modality | None) -> Run:
    """The run less the labels of a modality that nobody has, and what is told of each."""
    if modality is None:
        return run
    task = TASK_OF[modality]

    def points(found: Any) -> Any:
        return found and found.model_copy(update={task: {}})

    tests = {name: _without_rows(getattr(run, name), task) for name in ("test", "test_with_duplicates")}
    pooled = points(run.pooled)
    if pooled and pooled.by_site:
        none = getattr(pooled.by_site, task).model_copy(update={"groups": {}})
        pooled = pooled.model_copy(update={"by_site": pooled.by_site.model_copy(update={task: none})})
    sites = {
        name: site.model_copy(
            update={
                "test": _without_rows(site.test, task),
                "test_with_duplicates": _without_rows(site.test_with_duplicates, task),
                "test_at_own_thresholds": _without_rows(site.test_at_own_thresholds, task),
                "operating_points": points(site.operating_points),
            }
        )
        for name, site in run.sites.items()
    }
    labels = run.labels.model_copy(update={"findings" if modality == "xray" else "cancer_classes": ()})
    changed = {"labels": labels, "operating_points": points(run.operating_points), "pooled": pooled, "sites": sites}
    return run.model_copy(update={**tests, **changed})


def _without_rows(scores: _H | None, task: Task) -> _H | None:
    if scores is None:
        return None
    head = scores.head(task).model_copy(update={"per_finding" if task == "disease" else "per_class": {}})
    return scores.model_copy(update={task: head})
