"""What a hospital of two findings and two classes tells, in numbers that tests can count by hand."""

import json
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from fedthorax import __version__
from fedthorax.common.config import Experiment
from fedthorax.common.messages.results import Described, Evaluated, UpdateTold
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.messages.tasks import ModelFacts, Outcome
from fedthorax.common.metrics.scores import Scores, TestedScores
from fedthorax.common.record.passport import Passport
from fedthorax.common.record.run import FitTold, read_run
from fedthorax.server.record import RunRecord

FINDINGS, CLASSES = ("Effusion", "Mass"), ("normal", "tumour")
Model = TypeVar("Model", bound=BaseModel)


def changed(message: Model, **changes: Any) -> Model:
    """The message with other fields, not looked at again: a test may want one that no hospital could make."""
    return message.model_copy(update=changes)


def images(xray: int | None, ct: int | None) -> dict[str, int | None]:
    """Of a split of a passport."""
    return {"xray": xray, "ct": ct, "xray_patients": xray, "ct_patients": ct}


def passport(pairs: int | None = 10, modalities: tuple[Any, ...] = ("xray", "ct"), **splits: Any) -> Passport:
    """``pairs`` of an epoch, None where nothing was paired; no split unless it is given."""
    uses = {"min": 1, "mean": 1.0, "max": 1}
    pairing = {"pairs": pairs, "xray_uses": uses, "ct_uses": uses, "same_patient_pairs": None}
    return read(
        Passport,
        splits=splits,
        modalities=modalities,
        skipped=(),
        notes=(),
        check=(),
        pairing=None if pairs is None else pairing,
    )


def statistics(present: int | None = 20, absent: int | None = 80) -> SiteStatistics:
    """100 X-rays, no CT slice."""

    def table(**cells: int | None) -> dict[str, Any]:
        return {"cells": cells, "reason": "too few" if None in cells.values() else None}

    def modality(images: int) -> dict[str, Any]:
        attributes = {name: table(unknown=images) for name in ("sex", "age", "shorter_side", "view", "scanner")}
        shares = [1.0, *[0.0] * 31] if images else None
        halves = 0.01 if images else None
        return {
            **attributes, "images": images, "patients": images, "intensity": shares, "halves_distance": halves,
            "reasons": {},
        }  # fmt: skip

    return read(
        SiteStatistics,
        policy={"smallest_count": 5, "round_to": 5},
        xray=modality(100),
        ct=modality(0),
        findings={
            "Effusion": table(present=present, absent=absent, unknown=0),
            "Mass": table(present=50, absent=50, unknown=0),
        },
        cancer_classes=table(normal=0, tumour=0, unknown=0),
        co_occurrence=({"findings": ["Effusion", "Mass"], "images": 10, "reason": None},),
        duplicates={
            **{"key_check": "0" * 32, "xray": ["1" * 32], "ct": []},
            **{"xray_alike": ["1" * 32], "ct_alike": []},
        },
        duplicates_reason=None,
    )


def scores(value: float = 0.5, findings: Sequence[str] = FINDINGS, classes: Sequence[str] = CLASSES) -> Scores:
    """Every ROC-AUC is ``value``, and the loss what is left of 1."""
    row = {"support": 10, "descriptive": False, "reasons": {}, "roc_auc": value}
    of_findings = {"roc_auc": value, "num_findings": {"roc_auc": len(findings)}, "reasons": {}}
    of_classes = {"roc_auc": value, "num_classes": {"roc_auc": len(classes)}, "reasons": {}}
    means = ("macro", "weighted", "micro")
    return read(
        Scores,
        loss=1 - value,
        disease_loss=None,
        cancer_loss=None,
        disease={"per_finding": {name: row | {"known": 20} for name in findings}, **dict.fromkeys(means, of_findings)},
        cancer={
            "per_class": dict.fromkeys(classes, row),
            **dict.fromkeys(means, of_classes),
            "accuracy": None,
            "confusion_matrix": None,
            "known": 20,
            "reasons": {},
        },
    )


def evaluated(value: float = 0.5, splits: Sequence[str] = ("valid", "test"), **told: Any) -> Evaluated:
    found = scores(value)
    tested = TestedScores(**dict(found))
    return changed(Evaluated(**{split: tested if split == "test" else found for split in splits}), **told)


def described(pairs: int | None = 10, overlap: tuple[int, ...] = (), **changes: Any) -> Described:
    told = Described(
        data=passport(pairs),
        overlap=overlap,
        fingerprint="its data",
        statistics=statistics(),
        software_version=__version__,
    )
    return changed(told, **changes)


def trained(pairs: int = 10, steps: int | None = None, **changes: Any) -> UpdateTold:
    done = -(-pairs // 16) if steps is None else steps
    train = FitTold(loss=1.0, disease_loss=0.5, cancer_loss=0.5, pairs=pairs, steps=done, epochs=1, seconds=1.0)
    return changed(UpdateTold(valid=scores(), train=train), **changes)


def outcome(experiment: Experiment, *models: Literal["best", "last"]) -> Outcome:
    """What a hospital gets of a run that has just begun."""
    record = RunRecord.begun(experiment, "consortium", ("north",), "r1", "0" * 64, {})
    facts = read(
        ModelFacts,
        **{"format": 2, "name": experiment.name, "findings": FINDINGS, "cancer_classes": CLASSES, "image_size": 32},
        **{"aspect": "pad", "ct_windows": (), "threshold": 0.5, "absent": "refused", "views": 1},
        **{"augmentation": {}, "versions": {}},
    )
    return Outcome(models=models or ("best",), facts=facts, metrics=read_run(record.document))


def read(kind: type[Model], **fields: Any) -> Model:
    """As it comes over the wire, where a list is as good as a tuple."""
    return kind.model_validate_json(json.dumps(fields))
