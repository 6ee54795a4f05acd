"""``model.json``: what the outputs of the models beside it mean, and what binds these facts to their weights.

Labels, preparation of the images and versions are common to all models of a folder. Each model has an entry of its own:
the hash of its weights, its operating points (calibration and thresholds), and what its own evaluation gave. The
entry's ``facts_sha256`` covers the common facts and the entry, so that thresholds of another model, or edited by hand,
are noticed. ``card.md`` names the hash of the weights it is about.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedthorax.common.ground.atomic_write import write_json, write_text
from fedthorax.common.ground.strict_json import canonical_json, plain_value
from fedthorax.common.metrics.figures import CLASS_METRICS
from fedthorax.common.metrics.scores import TASKS, Task, TestedScores
from fedthorax.common.record.run import CentralTest, Run
from fedthorax.common.release.card_facts import card_facts
from fedthorax.common.release.model_card import model_card

FORMAT = 2
NOT_A_DEVICE = "For research. Not a medical device; it must not guide diagnosis or treatment."


def model_entry(facts: Mapping[str, Any], run: Run, round_number: int | None, weights_sha256: str) -> dict[str, Any]:
    """The entry of the model of a round of the ``run``. ``facts`` are the common ones.

    ``operating_points`` and ``evaluation`` are null unless it is the selected model and was tested. ``card`` is the
    rest of the model card. ``sites`` has, of hospitals that chose their own, the same of the hospital's own images.
    """
    points = run.operating_points
    mine = points is not None and points.round == round_number
    entry = {
        "round": round_number,
        "run": run.run,
        "weights_sha256": weights_sha256,
        "operating_points": points.model_dump(mode="json", exclude_unset=True) if points and mine else None,
        "evaluation": _evaluation(run.test) if mine else None,
        "card": card_facts(run, mine and run.test is not None),
        "sites": {
            name: {
                "operating_points": site.operating_points.model_dump(mode="json", exclude_unset=True),
                "evaluation": _evaluation(site.test_at_own_thresholds),
            }
            for name, site in run.sites.items()
            if mine and site.operating_points
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
    folder: Path, facts: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]], run: Run
) -> None:
    """``model.json`` and ``card.md``; the card is about the selected model, or else about the last one."""
    common = {key: value for key, value in facts.items() if key != "models"}
    value = plain_value({**common, "models": entries}, "model.json")
    write_json(folder / "model.json", value)
    name = next((name for name, entry in entries.items() if entry["operating_points"]), next(iter(entries)))
    write_text(folder / "card.md", model_card(common, entries[name], run))


def _digest(facts: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    common = {key: value for key, value in facts.items() if key != "models"}
    own = {key: value for key, value in entry.items() if key != "facts_sha256"}
    return hashlib.sha256(canonical_json(plain_value({"facts": common, "entry": own})).encode()).hexdigest()


def _evaluation(test: TestedScores | None) -> dict[str, Any] | None:
    """The figures of a test that belong beside an answer, each with its interval."""
    if test is None:
        return None

    def row(task: Task, label: str | None) -> dict[str, Any]:
        head = test.head(task)
        scores = head.macro if label is None else head.rows[label]
        kept = {key: getattr(scores, key) for key in ("support", "known", "descriptive") if hasattr(scores, key)}
        figures = {name: (getattr(scores, name), test.interval(task, name, label)) for name in CLASS_METRICS}
        return kept | {name: {"value": value, "interval": low_high} for name, (value, low_high) in figures.items()}

    patients = test.patients.model_dump() if isinstance(test, CentralTest) else None
    result: dict[str, Any] = {"patients": patients}
    for task, _ in TASKS:
        labels = {name: row(task, name) for name in test.head(task).rows}
        result[task] = {"macro": row(task, None), "per_finding" if task == "disease" else "per_class": labels}
    accuracy = test.mean("cancer", "accuracy"), test.interval("cancer", "accuracy")
    result["cancer"]["accuracy"] = dict(zip(("value", "interval"), accuracy, strict=True))
    by_patient = test.examinations
    if by_patient and (scores := by_patient.cancer) is not None:
        intervals = by_patient.intervals.cancer if by_patient.intervals else None
        told = {"accuracy": scores.accuracy, "roc_auc": scores.macro.roc_auc}
        result["examinations"] = {
            "patients": scores.known,
            "rule": by_patient.rule,
            **{name: {"value": value, "interval": intervals and intervals.of(name)} for name, value in told.items()},
        }
    return result
