import errno
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.model.segments import SEGMENTS
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.checkpoints import Checkpoint, Checkpoints
from fedthorax.server.resume import check_leave_out, check_same, open_run, writable
from fedthorax.server.selection import Selection

from ..common.config.test_patient_privacy import PRIVATE
from ..small_disk import small_disk

PHASES = "training.phases=[{rounds: 2, trainable: heads}, {rounds: 3, trainable: all}]"


@pytest.fixture
def experiment(experiment_file):
    """An experiment of five rounds in two phases, changed as wanted."""
    file = experiment_file()
    return lambda *sets: load_experiment(file, [PHASES, *sets])


def stopped_run(experiment, rounds: int = 3, status: str = "running", since_best: int = 0) -> RunFolder:
    """The folder of a run that has ``rounds`` rounds behind it, unlocked."""
    with RunFolder.create(experiment.run_folder) as folder:
        folder.write_config(experiment, {})
        folder.metrics.write_text(json.dumps({"schema_version": 2, "status": status, "rounds": []}))
        checkpoints = Checkpoints(folder.checkpoints, keep=2)
        for number in range(rounds + 1):
            weights = {segment: np.full(2, number, np.float32) for segment in SEGMENTS}
            record = {"stopped_early": False, "rounds": [{"round": number}]}  # which is noted once the rounds are over
            selection = Selection("loss", best_round=0, rounds_since_best=min(number, since_best))
            checkpoints.save(Checkpoint(number, weights, selection, "run-1", record))
    return folder


def test_a_stopped_run_goes_on_from_its_newest_checkpoint(experiment):
    stopped_run(experiment())
    with open_run(experiment(), resume=True) as run:
        assert (run.checkpoint.round, run.checkpoint.run) == (3, "run-1")
        assert run.notes == ("resumed after round 3",)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_taken(experiment):
    folder = stopped_run(experiment())
    damaged = folder.checkpoints / "round-0003.npz"
    damaged.write_bytes(damaged.read_bytes()[:200])
    with open_run(experiment(), resume=True) as run:
        assert run.checkpoint.round == 2
        assert "round-0003.npz" in run.notes[0]
        assert run.notes[0].endswith("going on from round 2")
    assert not damaged.exists()


def test_what_a_killed_writer_left_half_written_is_removed(experiment):
    folder = stopped_run(experiment())
    for name in (".metrics.json.77.ab.tmp", "checkpoints/.round-0004.npz.77.ab.tmp", "model/best.part.keras"):
        (folder.path / name).write_text("half")
    with open_run(experiment(), resume=True):
        pass
    assert [path for path in folder.path.rglob("*") if path.is_file() and path.read_bytes() == b"half"] == []


def test_a_run_killed_before_its_first_checkpoint_begins_anew(experiment):
    with RunFolder.create(experiment().run_folder):
        pass
    with open_run(experiment(), resume=True) as run:
        assert run.checkpoint is None
        assert "before its first checkpoint; it begins anew" in run.notes[0]


def test_two_servers_cannot_write_one_run(experiment):
    stopped_run(experiment())
    with (
        open_run(experiment(), resume=True),
        pytest.raises(BlockingIOError, match=r"is being written by process \d+"),
        open_run(experiment(), resume=True),
    ):
        pass


def test_a_finished_run_is_not_resumed(experiment):
    stopped_run(experiment(), 5, "finished")
    with pytest.raises(ValueError, match="has finished after round 5"), open_run(experiment(), resume=True):
        pass


def test_a_run_that_stopped_by_patience_is_not_resumed_unless_it_gets_more(experiment):
    patient = experiment("federation.patience=2")
    stopped_run(patient, 3, "finished", since_best=2)
    with pytest.raises(ValueError, match="has finished after round 3"), open_run(patient, resume=True):
        pass
    with open_run(experiment("federation.patience=3"), resume=True) as run:
        assert run.checkpoint.round == 3


def test_a_run_that_stopped_by_patience_and_was_killed_before_its_end_is_resumed(experiment):
    patient = experiment("federation.patience=2")
    stopped_run(patient, 3, since_best=2)
    with open_run(patient, resume=True) as run:
        assert run.checkpoint.round == 3


def test_a_finished_run_goes_on_when_it_gets_more_rounds(experiment):
    stopped_run(experiment(), 5, "finished")
    with open_run(experiment("training.phases.1.rounds=4"), resume=True) as run:
        assert run.checkpoint.round == 5


def test_overwriting_and_resuming_contradict_each_other(experiment):
    with pytest.raises(ValueError, match="give one of them"), open_run(experiment(), overwrite=True, resume=True):
        pass


def test_a_folder_without_its_experiment_is_not_resumed(experiment):
    stopped_run(experiment()).config.unlink()
    with pytest.raises(ValueError, match=r"config.yaml is missing"), open_run(experiment(), resume=True):
        pass


@pytest.mark.parametrize(
    "change",
    [
        "output.keep_checkpoints=5",
        "federation.round_timeout_s=60",
        "federation.connect_timeout_s=60",
        "federation.unusual_updates=warn",
        "federation.unusual_factor=9",
        "federation.min_sites=1",
        "simulation.parallel_sites=2",
        "data.cache.memory_mb=1",
        "training.phases.1.rounds=1",
        "training.phases.1.rounds=9",
    ],
)
def test_what_changes_no_round_that_is_done_may_differ(experiment, change):
    check_same(experiment(), experiment(change), 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("seed=3", "seed is 3, was 0"),
        ("model.backbone=MobileNetV3Small", "model.backbone is MobileNetV3Small, was EfficientNetB0"),
        (
            "labels.cancer_classes=[a, b]",
            r"labels.cancer_classes.0 is a, was normal; labels.cancer_classes.1 is b, was t",
        ),
        ("labels.findings=[Mass]", r"labels.findings is \['Mass'\], was \['Effusion', 'Mass'\]"),
        ("training.threads=1", "training.threads is 1, was null"),
        ("training.phases.1.local_epochs=3", "training.phases.1.local_epochs is 3, was 1"),
        ("data.central=null", "data.central is null, was {'xray'"),
        ("training.phases.0.rounds=1", "training.phases puts round 2, which is done, into another phase"),
        ("training.phases=[{rounds: 2, trainable: heads}]", "training.phases is "),
    ],
)
def test_every_key_that_would_make_it_another_run_is_named(experiment, change, words):
    with pytest.raises(ValueError, match=f"cannot be resumed with another experiment: {words}"):
        check_same(experiment(), experiment(change), 3)


def test_a_private_run_gets_no_more_rounds_because_its_noise_is_for_the_steps_that_it_was_planned_with(experiment_file):
    def private(rounds):
        phases = f"training.phases=[{{rounds: {rounds}, trainable: heads}}]"
        return load_experiment(experiment_file(), [*PRIVATE, phases])

    # 4 steps in 2 rounds. After one of them 3 rounds of one step each would be 5 in all.
    check_same(private(2), private(2), 1)
    with pytest.raises(ValueError, match=r"training\.phases\.0\.rounds is 4, was 2"):
        check_same(private(2), private(4), 1)


def test_fewer_rounds_than_are_done_are_refused(experiment):
    with pytest.raises(ValueError, match="has 3 rounds, but round 4 is done"):
        check_same(experiment(), experiment("training.phases.1.rounds=1"), 4)


@pytest.fixture
def tiny_disk(tmp_path):
    """Of 5 MiB, of which a run reserves 4."""
    with small_disk(tmp_path / "disk", 5) as disk:
        yield disk


def test_under_masks_nobody_is_left_out_whom_a_sum_needs(experiment):
    six = "data.hospitals={a: null, b: null, c: null, d: null, e: null, f: null}"
    masked = "federation.secure_aggregation=true"
    for settings, fewest in (((), 6), (("federation.min_sites=5",), 5), (("federation.min_sites=3",), 5)):
        mine = experiment(six, masked, *settings)
        without = ["a", "b", "c", "d", "e", "f"][: 6 - fewest]
        if without:
            check_leave_out(mine, without, resume=True)
        with pytest.raises(ValueError, match=rf"helps to unmask sums of {fewest} or more \(federation\.min_sites"):
            check_leave_out(mine, [*without, "f"], resume=True)


def test_a_full_disk_leaves_a_run_that_can_be_resumed(experiment, tiny_disk):
    mine = experiment(f"output.folder={tiny_disk}")
    folder = stopped_run(mine, rounds=1)
    large = {segment: np.zeros(300_000, np.float32) for segment in SEGMENTS}
    record = json.loads('{"stopped_early": false, "rounds": []}')
    with pytest.raises(
        OSError, match=r"round-0002.npz cannot be written: No space left on device; the newest whole ch"
    ):
        Checkpoints(folder.checkpoints, 2).save(Checkpoint(2, large, Selection("loss"), "run-1", record))
    with open_run(mine, resume=True) as run:
        assert run.checkpoint.round == 1


def test_nobody_is_left_out_whom_the_strategy_needs(experiment):
    six = "data.hospitals={a: null, b: null, c: null, d: null, e: null, f: null}"
    mine = experiment(six, "federation.strategy=krum", "federation.strategy_settings.malicious_sites=1")
    check_leave_out(mine, ["a"], resume=True)
    with pytest.raises(
        ValueError, match=r"leaves 4 hospitals, but federation\.strategy krum needs the updates of 5 in"
    ):
        check_leave_out(mine, ["a", "b"], resume=True)


def test_a_disk_without_room_is_called_full_though_what_was_half_written_gave_its_room_back(tmp_path):
    words = r"^the disk is full \(\S+: \d+ KiB free\): make room, and go on$"
    with pytest.raises(OSError, match=words), writable(tmp_path, "make room, and go on"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_read_only_folder_is_named(experiment, tiny_disk):
    mine = experiment(f"output.folder={tiny_disk}")
    stopped_run(mine, rounds=1)
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    for settings in ({"resume": True}, {"overwrite": True}):
        words = f"the run folder {mine.run_folder} cannot be written: Read-only file system; make room or unlock it"
        with pytest.raises(OSError, match=words), open_run(mine, **settings):
            pass


def test_a_folder_that_takes_no_file_is_named_without_root_too(experiment, monkeypatch):
    def refuse(path: Path, overwrite: bool) -> RunFolder:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(RunFolder, "create", refuse)
    with pytest.raises(OSError, match="cannot be written: Permission denied"), open_run(experiment()):
        pass
