"""What a run has measured so far: the content of metrics.json (described in docs/metrics.md)."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from fedthorax.common.config import Experiment
from fedthorax.common.ground.machine import peak_memory_mb
from fedthorax.common.masking.opening import threshold
from fedthorax.common.privacy import plan
from fedthorax.common.record.completed import completed
from fedthorax.common.record.passport import Passport
from fedthorax.common.record.run import SCHEMA_VERSION, Round, Run, checked_run, largest_site
from fedthorax.common.training.schedule import RoundPlan
from fedthorax.server.selection import Selection


class RunRecord:
    """Grows with the run; ``document`` is complete and valid at any time, with null for what is not known yet."""

    def __init__(self, sites: Sequence[str], document: dict[str, Any]) -> None:
        self._sites = tuple(sites)
        self._document = document

    @classmethod
    def begun(
        cls,
        experiment: Experiment,
        mode: str,
        sites: Sequence[str],
        run: str,
        config_sha256: str,
        versions: Mapping[str, str],
    ) -> "RunRecord":
        """The record of a run that begins now; ``run`` names it for ever."""
        federation, masks = experiment.federation, None
        if federation.secure_aggregation:
            fewest = threshold(len(experiment.data.hospitals))
            masks = {"smallest_sum": federation.smallest_sum, "threshold": fewest}
        document: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "name": experiment.name,
            "run": run,
            "mode": mode,
            "status": "running",
            "seed": experiment.seed,
            "strategy": federation.strategy,
            "masks": masks,
            "privacy": plan.told(experiment) if experiment.privacy else None,
            "config_sha256": config_sha256,
            "started": _now(),
            "versions": dict(versions),
            "labels": experiment.labels.model_dump(mode="json"),
            "sites": {site: {} for site in sites},
            "selection": {
                "metric": experiment.evaluation.selection_metric,
                "weights": experiment.evaluation.selection_weights,
            },
            "stopped_early": False,
            "totals": {"bytes_sent": 0, "bytes_received": 0},
        }
        return cls(sites, completed(Run, document))

    @classmethod
    def resumed(
        cls, sites: Sequence[str], document: Mapping[str, Any], config_sha256: str, versions: Mapping[str, str]
    ) -> "RunRecord":
        """The record that a checkpoint holds, going on now."""
        last = document["rounds"][-1]["round"]
        going_on: dict[str, Any] = {
            "operating_points": None,
            **document,
            "schema_version": SCHEMA_VERSION,
            "status": "running",
            "error": None,
            "finished": None,
            "config_sha256": config_sha256,
            "versions": dict(versions),
            "resumed": [*document["resumed"], {"after_round": last, "time": _now()}],
        }
        return cls(sites, going_on)

    @property
    def document(self) -> dict[str, Any]:
        return self._document

    def run(self) -> Run:
        """The record as whoever reads it has it."""
        return checked_run(self._document)

    @property
    def rounds(self) -> list[dict[str, Any]]:
        rounds: list[dict[str, Any]] = self._document["rounds"]
        return rounds

    @property
    def newest_round(self) -> int:
        return int(self.rounds[-1]["round"])

    def open_round(self, number: int, plan: RoundPlan | None) -> None:
        """Round 0 is the model before any training and has no plan."""
        phase = plan and {
            "index": plan.phase_index,
            "trainable": plan.phase.trainable,
            "learning_rate": plan.learning_rate,
            "local_epochs": plan.phase.local_epochs,
            "parts": [part for part in plan.phase.parts if part not in plan.stopped],
        }
        sites: dict[str, Any] = {site: {} for site in self._sites}
        begun = {"round": number, "phase": phase, "sites": sites, "bytes_sent": 0, "bytes_received": 0}
        self.rounds.append(completed(Round, begun))

    def site_scores(self, number: int, site: str, kind: str, scores: Mapping[str, Any]) -> None:
        """``kind`` is train (a fit report) or valid (Scores of that round's global model)."""
        self.rounds[number]["sites"][site][kind] = scores

    def site_tests(self, site: str, results: Mapping[str, Any]) -> None:
        """The hospital's own test scores, without and with the images that it also trained or validated on, at its own
        thresholds, with these, and by subgroup."""
        for name in ("test", "test_with_duplicates", "test_at_own_thresholds", "operating_points", "subgroups"):
            self._document["sites"][site][name] = results.get(name)

    def newest_update(self, site: str, until: int) -> int:
        """The last round up to ``until`` in which an update of the hospital counted; 0 where there is none."""
        trained = (entry["round"] for entry in self.rounds if counted(entry["sites"][site]))
        return max((number for number in trained if number <= until), default=0)

    def personal(self, site: str, told: Mapping[str, Any]) -> None:
        """How good the hospital's own model is there, beside the common one."""
        self._document["sites"][site]["personal"] = told

    def largest_site(self) -> str | None:
        """The hospital with most training pairs, as they described themselves; None where several have as many."""
        described = {site: self.described(site) for site in self._sites}
        return largest_site({site: data.pairs if data else 0 for site, data in described.items()})

    def described(self, site: str) -> Passport | None:
        """What the hospital said about its data; None where it has not joined yet."""
        data = self._document["sites"][site]["data"]
        return None if data is None else Passport.model_validate_json(json.dumps(data))

    def passport(self, site: str) -> Passport:
        """Of a hospital that has joined."""
        found = self.described(site)
        if found is None:
            raise ValueError(f"{site} has not described its data")
        return found

    def describe(self, site: str, data: Passport, fingerprint: str, software_version: str) -> None:
        told = {"fingerprint": fingerprint, "software_version": software_version}
        self._document["sites"][site] |= {"data": data.model_dump(mode="json"), **told}

    def late(self, site: str, stage: str, number: int, duplicate: bool, seconds: float) -> None:
        """A reply to an earlier task that came in the newest round; ``number`` is the round it was for."""
        entry = {"site": site, "stage": stage, "round": number, "duplicate": duplicate, "seconds": round(seconds, 1)}
        self.rounds[-1]["late"].append(entry)

    def warning(self, site: str, reason: str) -> None:
        """Something odd about a hospital's part in the newest round, which counts all the same."""
        self.rounds[-1]["warnings"].append({"site": site, "reason": reason})

    def failure(self, site: str, stage: str, reason: str) -> None:
        """A hospital that did not do its part in the newest round."""
        self.rounds[-1]["failures"].append({"site": site, "stage": stage, "reason": reason})

    def close_round(
        self, central: Mapping[str, Any] | None, seconds: float, run_seconds: float, sent: int, received: int
    ) -> None:
        """``central`` is None where the round's model was not taken. ``run_seconds`` and the bytes ``sent`` and
        ``received`` are since the start of the run."""
        totals = self._document["totals"]
        self.rounds[-1] |= {
            "central": central,
            "seconds": seconds,
            "bytes_sent": sent - totals["bytes_sent"],
            "bytes_received": received - totals["bytes_received"],
        }
        totals |= {"seconds": run_seconds, "bytes_sent": sent, "bytes_received": received}

    def select(self, selection: Selection) -> None:
        self._document["best_round"] = selection.best_round
        self._document["selection"] |= {"metric": selection.metric, "value": selection.best_value}

    def site_memory(self, megabytes: float | None) -> None:
        """Largest resident memory that a site's process has reported."""
        peak = self._document["totals"]["peak_memory_mb"]
        if megabytes is not None:
            peak["sites"] = max(peak["sites"] or 0.0, float(megabytes))

    def finish(self, status: str, error: str | None, seconds: float, sent: int, received: int) -> None:
        self._document |= {"status": status, "error": error, "finished": _now()}
        totals = self._document["totals"]
        totals |= {"seconds": seconds, "bytes_sent": sent, "bytes_received": received}
        totals["peak_memory_mb"]["server"] = peak_memory_mb()
        if privacy := self._document.get("privacy"):
            privacy["spent"] = plan.spent(privacy)


def counted(entry: Mapping[str, Any]) -> bool:
    """Whether a hospital's update is in the round's model; the norm of one that is masked is not known."""
    return entry["update_norm"] is not None or bool(entry.get("masked"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def written(told: BaseModel) -> dict[str, Any]:
    """As metrics.json holds it: what was not told stays out of it."""
    return told.model_dump(mode="json", exclude_unset=True)
