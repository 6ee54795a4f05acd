"""What changed since a run: told by name, with both values."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedthorax.cli.replay_text import condition_lines
from fedthorax.common.ground.strict_json import canonical_json
from fedthorax.common.record.run_folder import RunFolder, config_sha256, machine_facts, package_versions
from fedthorax.common.replay.conditions import (
    StoredRun,
    data_changes,
    machine_changes,
    settings_changes,
    stored_run,
    version_changes,
)


@pytest.fixture
def run_folder(experiment_file: Any) -> Path:
    """A finished run of two rounds, as far as its record goes."""
    from fedthorax.common.config.load import load_experiment

    experiment = load_experiment(experiment_file())
    metrics = {
        "schema_version": 2,
        "status": "finished",
        "mode": "simulate",
        "config_sha256": config_sha256(experiment),
        "versions": package_versions(),
        "central": {"fingerprint": "c"},
        "sites": {"north": {"fingerprint": "n"}, "st.mary": {"fingerprint": None}},
        "rounds": [],
    }
    with RunFolder.create(experiment.run_folder) as folder:
        folder.write_config(experiment, {"machine": machine_facts()})
        folder.metrics.write_text(json.dumps(metrics))
    return experiment.run_folder


def changed(run_folder: Path, **changes: Any) -> StoredRun:
    file = run_folder / "metrics.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return stored_run(run_folder)


def test_nothing_changed_where_nothing_did(run_folder: Path) -> None:
    run = stored_run(run_folder)
    assert settings_changes(run) == {}
    assert version_changes(run) == {}
    assert machine_changes(run) == {}
    assert data_changes(run, run.fingerprints.__getitem__) == {}


def test_a_hospital_that_took_no_part_has_no_data_to_compare(run_folder: Path) -> None:
    assert set(stored_run(run_folder).fingerprints) == {"central", "north"}


def test_other_versions_and_packages_are_named_with_both_values(run_folder: Path) -> None:
    versions = {name: version for name, version in package_versions().items() if name != "keras"}
    found = version_changes(changed(run_folder, versions={**versions, "numpy": "0.1", "ray": "2.0"}))
    assert found["numpy"][0] == "0.1"
    assert found["ray"] == ("2.0", None)
    assert found["keras"][0] is None
    assert set(found) == {"numpy", "ray", "keras"}


def test_an_edited_configuration_is_noticed(run_folder: Path) -> None:
    config = run_folder / "config.yaml"
    config.write_text(config.read_text().replace("\nseed: 0", "\nseed: 1"))
    assert list(settings_changes(stored_run(run_folder))) == ["config.yaml"]


def test_a_setting_that_the_run_did_not_know_is_named_with_its_default(run_folder: Path) -> None:
    config = run_folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("  tensorboard: false\n", ""))
    older = yaml.safe_load(config.read_text())
    digest = hashlib.sha256(canonical_json(older).encode()).hexdigest()
    assert settings_changes(changed(run_folder, config_sha256=digest)) == {"output.tensorboard": (None, False)}


def test_another_machine_is_noticed(run_folder: Path) -> None:
    config = run_folder / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace(f"cores: {machine_facts()['cores']}", "cores: 640"))
    assert machine_changes(stored_run(run_folder)) == {"cores": (640, machine_facts()["cores"])}


def test_other_data_are_named_by_site(run_folder: Path) -> None:
    run = stored_run(run_folder)
    assert data_changes(run, {"central": "c", "north": "x"}.__getitem__) == {"north": ("n", "x")}


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_did_not_finish_is_refused(run_folder: Path, status: str) -> None:
    with pytest.raises(ValueError, match=rf"did not finish \({status}\).*go on with it"):
        changed(run_folder, status=status)


def test_a_site_of_which_no_fingerprint_was_written_down_is_named_and_not_called_unchanged(run_folder: Path) -> None:
    run = changed(run_folder, central={"data": {"splits": {}}})
    assert run.without_fingerprint == ("central",)
    assert list(run.fingerprints) == ["north"]
    lines = condition_lines({"data": {}}, run.without_fingerprint)
    assert lines == ["data      central: not compared, the run wrote down no fingerprint"]
