"""``model.json``: what the outputs of the models beside it mean, and what binds these facts to their weights.

Labels, preparation of the images and versions are common to all models of a folder. Each model has an entry of its own:
the hash of its weights, its operating points (calibration and thresholds), and what its own evaluation gave. The
entry's ``facts_sha256`` covers the common facts and the entry, so that thresholds of another model, or edited by hand,
are noticed. ``card.md`` names the hash of the weights it is about.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.strict_json import canonical_json, plain_value
from fedthorax.common.ground.wording import at
from fedthorax.common.metrics.figures import CLASS_METRICS
from fedthorax.common.release.card_facts import card_facts
from fedthorax.common.release.model_card import model_card

FORMAT = 2
NOT_A_DEVICE = "For research. Not a medical device; it must not guide diagnosis or treatment."


def model_entry(
    facts: Mapping[str, Any], metrics: Mapping[str, Any], round_number: int, weights_sha256: str
) -> dict[str, Any]:
    """The entry of the model of a round. ``facts`` are the common ones, ``metrics`` is the content of metrics.json.

    ``operating_points`` and ``evaluation`` are null unless it is the selected model and was tested. ``card`` is the
    rest of the model card. ``sites`` has, of hospitals that chose their own, the same of the hospital's own images.
    """
    points = metrics.get("operating_points")
    mine = points is not None and points.get("round") == round_number
    evaluation = _evaluation(metrics["test"]) if mine and metrics.get("test") else None
    entry = {
        "round": round_number,
        "run": metrics.get("run"),
        "weights_sha256": weights_sha256,
        "operating_points": points if mine else None,
        "evaluation": evaluation,
        "card": card_facts(metrics, evaluation),
        "sites": {
            name: {
                "operating_points": site["operating_points"],
                "evaluation": _evaluation(site["test_at_own_thresholds"]) if site["test_at_own_thresholds"] else None,
            }
            for name, site in (metrics.get("sites") or {}).items()
            if mine and site.get("operating_points")
        },
    }
    return sealed(facts, entry)


def sealed(facts: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with its ``facts_sha256``."""
    return {**entry, "facts_sha256": _digest(facts, entry)}


def check_entry(facts: Mapping[str, Any], entry: Mapping[str, Any], where: str) -> None:
    """ValueError where the entry, or the common facts, were changed since they were written together."""
    if entry.get("facts_sha256") != _digest(facts, entry):
        raise ValueError(
            f"{where}: labels, preparation, thresholds or scores do not belong to this model or were edited "
            "(facts_sha256 differs); take the folder again as the run left it"
        )


def write_model_facts(
    folder: Path, facts: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]
) -> None:
    """``model.json`` and ``card.md``; the card is about the selected model, or else about the last one."""
    common = {key: value for key, value in facts.items() if key != "models"}
    value = plain_value({**common, "models": entries}, "model.json")
    write_text(folder / "model.json", json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    name = next((name for name, entry in entries.items() if entry["operating_points"]), next(iter(entries)))
    write_text(folder / "card.md", model_card(common, entries[name], metrics))


def _digest(facts: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    common = {key: value for key, value in facts.items() if key != "models"}
    own = {key: value for key, value in entry.items() if key != "facts_sha256"}
    return hashlib.sha256(canonical_json(plain_value({"facts": common, "entry": own})).encode()).hexdigest()


def _evaluation(test: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the central test that belong beside an answer, each with its interval."""

    def row(task: str, path: tuple[str, ...]) -> dict[str, Any]:
        scores, intervals = at(test, task, *path) or {}, at(test, "intervals", task, *path) or {}
        kept = {key: scores[key] for key in ("support", "known", "descriptive") if key in scores}
        return kept | {name: {"value": scores.get(name), "interval": intervals.get(name)} for name in CLASS_METRICS}

    result: dict[str, Any] = {"patients": test.get("patients")}
    for task, group in (("disease", "per_finding"), ("cancer", "per_class")):
        labels = at(test, task, group) or {}
        result[task] = {
            "macro": row(task, ("macro",)),
            group: {name: row(task, (group, name)) for name in labels},
        }
    result["cancer"]["accuracy"] = {
        "value": at(test, "cancer", "accuracy"),
        "interval": at(test, "intervals", "cancer", "accuracy"),
    }
    by_patient = at(test, "examinations") or {}
    if (scores := by_patient.get("cancer")) is not None:
        intervals = at(by_patient, "intervals", "cancer") or {}
        result["examinations"] = {
            "patients": scores["known"],
            "rule": by_patient["rule"],
            "accuracy": {"value": scores["accuracy"], "interval": intervals.get("accuracy")},
            "roc_auc": {"value": at(scores, "macro", "roc_auc"), "interval": at(intervals, "macro", "roc_auc")},
        }
    return result
