"""What a run was made with, against what there is now: settings, package versions, machine, data."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.ground.strict_json import canonical_json
from fedthorax.common.record.run_folder import RunFolder, config_sha256, machine_facts, package_versions

Changes = dict[str, tuple[Any, Any]]  # by name what it was and what it is; None stands for what is not there


@dataclass(frozen=True)
class StoredRun:
    """A finished run: its folder, its experiment, the facts beside it, and metrics.json."""

    folder: Path
    experiment: Experiment
    facts: Mapping[str, Any]
    metrics: Mapping[str, Any]

    @property
    def mode(self) -> str:
        return str(self.metrics["mode"])

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the data: of the server's own folders, and of each hospital that took part."""
        return {name: entry["fingerprint"] for name, entry in self._entries.items() if entry.get("fingerprint")}

    @property
    def without_fingerprint(self) -> tuple[str, ...]:
        """Sites whose data were used and of which a run of an early version wrote down no fingerprint."""
        return tuple(
            name for name, entry in self._entries.items() if entry.get("data") and not entry.get("fingerprint")
        )

    @property
    def _entries(self) -> dict[str, Mapping[str, Any]]:
        return {CENTRAL: self.metrics["central"], **self.metrics["sites"]}


def stored_run(path: Path) -> StoredRun:
    """The run in the folder ``path``. Raises FileNotFoundError where none is, ValueError where it did not finish, or
    where this version cannot read its settings."""
    folder = RunFolder.load(path)
    metrics = folder.read_metrics()
    if metrics["status"] != "finished":
        raise ValueError(
            f"{path} did not finish ({metrics['status']}), so there is no result to come to again; go on with it "
            "(--resume), or start it anew"
        )
    return StoredRun(path, *folder.read_config(), metrics)


def settings_changes(run: StoredRun) -> Changes:
    """``config.yaml`` where the file is not the one that ran, and by dotted key the settings that this version has and
    the run did not know: they take their defaults."""
    if config_sha256(run.experiment) == run.metrics["config_sha256"]:
        return {}
    raw = yaml.safe_load((run.folder / "config.yaml").read_text(encoding="utf-8"))
    digest = hashlib.sha256(canonical_json(raw).encode()).hexdigest()
    if digest != run.metrics["config_sha256"]:
        return {"config.yaml": (run.metrics["config_sha256"], digest)}
    return {key: (None, value) for key, value in _unknown(raw, run.experiment.model_dump(mode="json"), "")}


def version_changes(run: StoredRun) -> Changes:
    """Packages whose version is another now."""
    return _changes(run.metrics["versions"], package_versions())


def machine_changes(run: StoredRun) -> Changes:
    """Facts of the machine that are others now; empty for a run that did not write them down."""
    before = run.facts.get("machine") or {}
    return _changes(before, {name: value for name, value in machine_facts().items() if name in before})


def data_changes(run: StoredRun, fingerprint_of: Callable[[str], str]) -> Changes:
    """Sites, ``central`` among them, whose images, labels or splits are others now."""
    return _changes(run.fingerprints, {site: fingerprint_of(site) for site in run.fingerprints})


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    names = [*before, *(name for name in now if name not in before)]
    return {name: (before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)}


def _unknown(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Keys of ``now`` at any depth that ``before`` lacks, dotted, with their values."""
    for key, value in now.items() if isinstance(now, Mapping) and isinstance(before, Mapping) else ():
        if key not in before:
            yield f"{path}{key}", value
        else:
            yield from _unknown(before[key], value, f"{path}{key}.")
