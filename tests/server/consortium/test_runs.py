import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from fedthorax.common.ground.audit import AuditLog, parts
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.consortium import runs
from fedthorax.server.consortium.control import FlowerRun, ServerNotRunningError
from fedthorax.server.consortium.runs import (
    Submission,
    find_submission,
    last_words,
    note_submission,
    read_submissions,
    verdict,
    wait_until_over,
    without_results,
)


@pytest.fixture
def submission(tmp_path):
    (tmp_path / "chest").mkdir()
    return Submission(7, "chest", str(tmp_path / "chest"), "chest-1.yaml", time.time() - 60, False)


def measured(submission, status, error=None, age=0.0):
    """metrics.json of the run, written ``age`` seconds ago."""
    path = f"{submission.run_folder}/metrics.json"
    with open(path, "w") as file:  # noqa: PTH123
        json.dump({"schema_version": 2, "status": status, "error": error}, file)
    os.utime(path, (time.time() - age, time.time() - age))


def flower(sub_status, details=""):
    return FlowerRun(7, "finished", sub_status, details)


def test_a_run_is_found_by_its_number_and_its_newest_by_its_name(folder):
    assert read_submissions(folder) == ()
    first = Submission(18446744073709551615, "chest", "/runs/chest", "a.yaml", 1.0, False)
    second = Submission(2, "chest", "/runs/chest", "b.yaml", 2.0, True)
    note_submission(folder, first)
    note_submission(folder, second)
    assert find_submission(folder, "18446744073709551615") == first
    assert find_submission(folder, "chest") == second
    with pytest.raises(ValueError, match="no run 'lung' was submitted to this consortium; known names: chest"):
        find_submission(folder, "lung")


def test_half_a_line_that_a_full_disk_left_hides_no_other_run(folder):
    file = folder.path / "submissions.jsonl"
    note_submission(folder, Submission(1, "chest", "/runs/chest\u2028", "a.yaml", 1.0, False))
    file.write_text(file.read_text() + '{"run_id": 2, "na')
    note_submission(folder, Submission(3, "lung", "/runs/lung", "c.yaml", 3.0, False))
    assert [one.run_id for one in read_submissions(folder)] == [1, 3]


def test_a_list_that_cannot_be_written_on_a_full_disk_stays_as_it_was(folder, monkeypatch):
    note_submission(folder, Submission(1, "chest", "/runs/chest", "a.yaml", 1.0, False))
    before = (folder.path / "submissions.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("fedthorax.common.ground.atomic_write.os.fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            note_submission(folder, Submission(2, "lung", "/runs/lung", "b.yaml", 2.0, False))
    assert (folder.path / "submissions.jsonl").read_bytes() == before


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_who_has_the_models_is_read_from_a_log_that_was_put_aside_too(tmp_path, monkeypatch):
    run = RunFolder(tmp_path / "chest")
    run.model.mkdir(parents=True)
    (run.path / "config.yaml").write_text("")
    (run.path / "metrics.json").write_text('{"schema_version": 2, "status": "finished", "sites": {"north": {}}}')
    (run.model / "model.json").write_text('{"models": {"best.keras": {"weights_sha256": "a"}}}')
    log = AuditLog(run.audit)
    log.append("models delivered", site="north", model_sha256="a")
    monkeypatch.setattr("fedthorax.common.ground.audit.MOST_BYTES", run.audit.stat().st_size)
    log.append("finished", words="two\u2028lines")
    assert len(parts(run.audit)) == 2
    assert without_results(run.path) == []


def test_a_run_finished_only_where_flower_and_the_run_itself_say_so(submission):
    measured(submission, "finished")
    assert verdict(submission, flower("completed")).status == "finished"
    assert verdict(submission, None).status == "finished"  # the SuperLink's database was lost
    assert verdict(submission, flower("failed", "out of memory")).problem == "out of memory"


def test_a_completed_flower_run_whose_run_failed_has_failed(submission):
    measured(submission, "failed", "0 of the 2 hospitals needed are connected")
    end = verdict(submission, flower("completed"))
    assert (end.status, end.problem) == ("failed", "0 of the 2 hospitals needed are connected")


def test_a_server_process_that_was_killed_leaves_a_run_to_resume(submission):
    measured(submission, "running")
    end = verdict(submission, flower("failed"))
    assert end.status == "failed"
    assert (
        "its process ended without a word: it was killed, ran out of memory, or the machine stopped (Flower says"
        in str(end.problem)
    )
    assert "fedthorax run --resume chest" in str(end.problem)


def test_figures_of_an_earlier_run_of_the_same_name_do_not_count(submission):
    measured(submission, "finished", age=3600)
    end = verdict(submission, flower("failed", "FileExistsError: chest already holds a run"))
    assert (end.status, end.problem) == ("failed", "FileExistsError: chest already holds a run")


def test_a_stopped_run_was_stopped(submission):
    measured(submission, "running")
    assert verdict(submission, flower("stopped")).status == "stopped"


@pytest.fixture
def answers(monkeypatch):
    """What the SuperLink answers, one after the other."""
    given = []

    class Link:
        def run(self, run_id):
            answer = given.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(runs, "control", lambda folder: contextlib.nullcontext(Link()))
    return given


def test_a_silent_server_is_told_once_and_waited_for(folder, answers):
    away, refused = ServerNotRunningError("no answer"), RuntimeError("HTTP 500")
    answers += [away, away, refused, FlowerRun(7, "running", "", ""), flower("completed")]
    told: list[str] = []
    assert wait_until_over(folder, 7, told.append, poll=0.0) == flower("completed")
    assert told == ["no answer; waiting for it", "the server answers again"]


def test_a_run_that_gets_no_process_is_told_once_and_waited_for(folder, answers, monkeypatch):
    monkeypatch.setattr(runs.time, "sleep", lambda seconds: None)
    pending, starting = (FlowerRun(7, status, "", "") for status in ("pending", "starting"))
    answers += [pending] * 20 + [starting] * 20
    told: list[str] = []
    with pytest.raises(IndexError):  # no answer is left
        wait_until_over(folder, 7, told.append, poll=2.0)
    assert told == ["the run has had no process for 60 s; see logs/superlink.log"]
    answers += [pending] * 10 + [FlowerRun(7, "running", "", "")] * 90 + [flower("completed")]
    wait_until_over(folder, 7, told.append, poll=2.0)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "full"),
    [(RuntimeError("HTTP 500"), None), (RuntimeError("HTTP 500"), "full"), (ServerNotRunningError("away"), "full")],
)
def test_a_server_that_cannot_say_that_a_run_is_over_is_not_waited_for(folder, answers, monkeypatch, error, full):
    monkeypatch.setattr(runs, "full_disk", lambda path: full)
    ended = iter([False, False, True])
    answers += [error] * 3
    assert wait_until_over(folder, 7, lambda text: None, 0.0, lambda: next(ended)) is None
    assert answers == []


def test_a_server_that_is_away_is_waited_for_whatever_became_of_the_run(folder, answers):
    answers += [ServerNotRunningError("away"), flower("failed")]
    assert wait_until_over(folder, 7, lambda text: None, 0.0, lambda: True) == flower("failed")


def test_a_run_that_stands_still_on_a_full_disk_is_waited_for_a_minute(folder, answers, monkeypatch):
    now = iter([100.0, 100.0, 160.0, 160.1])
    monkeypatch.setattr(runs.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(runs, "full_disk", lambda path: "full")
    answers += [RuntimeError("HTTP 500")] * 3
    assert wait_until_over(folder, 7, lambda text: None, 0.0) is None
    assert answers == []


def test_the_last_words_of_a_run_that_could_write_nothing_else_are_why(submission, monkeypatch):
    with RunFolder.create(Path(submission.run_folder)) as run:
        assert last_words(submission) is None
        run.last_words("failed", "the disk is full (runs/chest: 0 KiB free): make room")
    assert last_words(submission) == ("failed", "the disk is full (runs/chest: 0 KiB free): make room")
    end = verdict(submission, None)
    assert (end.status, end.problem) == last_words(submission)
    measured(submission, "finished", age=3600)  # of the run before
    assert verdict(submission, None) == end
    os.utime(run.path / ".lock", (1, 1))  # so are the last words
    assert last_words(submission) is None
    assert verdict(submission, flower("failed", "refused")).problem == "refused"
