import csv
import errno
import importlib.metadata
import json
import os

import pytest
import yaml

from fedthorax.common.config import Experiment
from fedthorax.common.record.run_folder import ENDED_FROM_OUTSIDE, RunFolder, config_sha256, package_versions


def experiment(**changes):
    return Experiment.model_validate(
        {
            "name": "demo",
            "labels": {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]},
            "data": {"hospitals": {"Nord": {"xray": "n/x", "ct": "n/ct"}}, "central": {"xray": "c/x", "ct": "c/ct"}},
            "training": {"phases": [{"rounds": 2, "trainable": "heads", "learning_rate": 1e-5}]},
            **changes,
        }
    )


@pytest.fixture
def metrics(run_document):
    return run_document


def test_a_new_folder_has_its_places_and_a_second_run_of_that_name_is_refused(tmp_path):
    with RunFolder.create(tmp_path / "demo") as folder:
        assert folder.checkpoints.is_dir()
        assert folder.best_model.parent.is_dir()
    with pytest.raises(FileExistsError, match=r"already holds a run; add --overwrite"):
        RunFolder.create(tmp_path / "demo")


def test_overwrite_empties_a_run_folder(tmp_path):
    with RunFolder.create(tmp_path / "demo") as folder:
        (folder.checkpoints / "round-3.keras").write_text("old")
        folder.report.write_text("old")
    with RunFolder.create(tmp_path / "demo", overwrite=True) as folder:
        assert not folder.report.exists()
        assert list(folder.checkpoints.iterdir()) == []


def test_overwrite_never_removes_a_folder_that_is_not_a_run(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "config.yaml").write_text("name: something else\n")
    with pytest.raises(FileExistsError, match="holds files, but not those of a run"):
        RunFolder.create(photos, overwrite=True)
    assert [file.name for file in photos.iterdir()] == ["config.yaml"]


def test_overwrite_does_not_follow_a_link(tmp_path):
    RunFolder.create(tmp_path / "demo").close()
    (tmp_path / "link").symlink_to(tmp_path / "demo")
    with pytest.raises(FileExistsError, match="is not a folder"):
        RunFolder.create(tmp_path / "link", overwrite=True)


def test_an_empty_folder_may_become_a_run(tmp_path):
    RunFolder.create(tmp_path).close()


def test_a_second_writer_gets_one_clear_line_and_destroys_nothing(tmp_path):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.report.write_text("mine")
        with pytest.raises(
            BlockingIOError, match=r"demo is being written by process \d+ on .*; wait for it"
        ) as refusal:
            RunFolder.create(tmp_path / "demo", overwrite=True)
        assert "\n" not in str(refusal.value)
        assert folder.report.read_text() == "mine"


def test_a_stopped_run_is_opened_again_with_all_that_it_holds(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
        (folder.path / ".metrics.json.1.ab.tmp").write_text("half")
    with RunFolder.resume(tmp_path / "demo") as folder:
        assert folder.read_metrics()["rounds"][1]["round"] == 1
        folder.write_metrics(metrics())
        assert list(folder.path.glob("*.tmp")) == []
        with pytest.raises(BlockingIOError, match=r"is being written by process \d+"):
            RunFolder.resume(tmp_path / "demo")


@pytest.mark.parametrize("content", [None, "photo.png"])
def test_what_is_no_run_is_not_resumed(tmp_path, content):
    if content:
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / content).touch()
    with pytest.raises(FileNotFoundError, match="demo holds no run that could be resumed; start it without --resume"):
        RunFolder.resume(tmp_path / "demo")


def test_the_stored_configuration_is_an_experiment_and_its_comments_hold_the_rest(tmp_path):
    extra = {"versions": {"numpy": "2.1"}, "seeds": {"model": 7}, "note": "two\n\nparagraphs: #1"}
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_config(experiment(), extra)
        stored, facts = folder.read_config()
    assert stored == experiment()
    assert facts == {"config_sha256": config_sha256(experiment()), **extra}
    assert Experiment.model_validate(yaml.safe_load(folder.config.read_text())) == experiment()


def test_a_configuration_has_one_fingerprint_and_every_change_another():
    assert config_sha256(experiment()) == config_sha256(experiment(seed=0))
    assert config_sha256(experiment()) != config_sha256(experiment(seed=1))


def test_metrics_come_back_as_they_were_written(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics(name="Zürich"))
    stored = RunFolder.load(tmp_path / "demo").read_metrics()
    assert stored["name"] == "Zürich"
    assert stored["rounds"][1]["sites"]["Nord"]["train"]["pairs"] == 7
    assert [file.name for file in folder.path.iterdir() if file.name.endswith(".tmp")] == []


def test_the_history_has_a_row_a_round_for_the_centre_and_for_each_site(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
    with folder.history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["round"], row["scope"], row["site"]) for row in rows] == [
        ("0", "central", ""),
        ("1", "central", ""),
        ("1", "site", "Nord"),
    ]
    assert rows[0]["disease_roc_auc"] == "0.75"
    assert rows[0]["disease_precision"] == rows[0]["cancer_loss"] == rows[0]["trainable"] == ""
    assert rows[2]["train_pairs"] == "7"
    assert rows[2]["disease_roc_auc"] == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 2}, "metrics.schema_version: Input should be 3"),
        ({"sites": {3: {}}}, "metrics.sites has the key 3 of type int; keys must be text"),
        ({"sites": {"Nord": {1, 2}}}, "metrics.sites.Nord is a set, which JSON cannot hold"),
    ],
)
def test_metrics_that_are_not_honest_json_are_refused_and_the_old_file_stays(tmp_path, metrics, changes, message):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
        before = folder.metrics.read_bytes()
        with pytest.raises(ValueError, match=message):
            folder.write_metrics(metrics(**changes))
        assert folder.metrics.read_bytes() == before


def test_a_reader_cannot_write(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
    with pytest.raises(ValueError, match="was opened for reading"):
        RunFolder.load(tmp_path / "demo").write_metrics(metrics())


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing is not a folder; expected a run folder such as runs/demo"):
        RunFolder.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"holds no metrics\.json"):
        RunFolder.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), (json.dumps({"schema_version": 1}), "has schema_version 1, but")]
)
def test_metrics_of_another_kind_are_refused(tmp_path, text, message):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        RunFolder.load(tmp_path).read_metrics()


def test_versions_name_what_can_change_a_figure():
    versions = package_versions()
    assert versions["numpy"] == importlib.metadata.version("numpy")
    assert "python" in versions


def test_a_run_whose_writer_is_gone_says_how_it_ended(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
        assert RunFolder.load(tmp_path / "demo").read_metrics()["status"] == "running"
        assert RunFolder.load(tmp_path / "demo").how_it_ended() is None
    ended = RunFolder.load(tmp_path / "demo").read_metrics()
    assert (ended["status"], ended["error"]) == ("failed", ENDED_FROM_OUTSIDE)


def test_room_for_the_end_of_a_run_is_kept_while_it_is_written_and_no_longer(tmp_path, monkeypatch, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        reserve = folder.path / ".reserve"
        assert reserve.stat().st_blocks * 512 >= 4 << 20
        folder.use_reserve()
        assert not reserve.exists()
    with RunFolder.resume(tmp_path / "demo") as folder:
        assert reserve.exists()
        folder.write_metrics(metrics())
        folder.last_words("failed", "the disk is full")
    assert not reserve.exists()

    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        RunFolder.resume(tmp_path / "demo")
    assert RunFolder.load(tmp_path / "demo").read_metrics()["error"] == "the disk is full"  # is still why


def test_the_last_words_are_told_where_nothing_else_could_be_written(tmp_path, metrics):
    with RunFolder.create(tmp_path / "demo") as folder:
        folder.write_metrics(metrics())
        size = (folder.path / ".lock").stat().st_blocks
        folder.last_words("finished", None)
        folder.last_words("failed", "the disk is full\n" + "x" * 5000)
        assert (folder.path / ".lock").stat().st_blocks == size
    ended = RunFolder.load(tmp_path / "demo").read_metrics()
    assert ended["status"] == "failed"
    assert ended["error"].startswith("the disk is full")
    with RunFolder.resume(tmp_path / "demo") as folder:
        assert folder.how_it_ended() is None
