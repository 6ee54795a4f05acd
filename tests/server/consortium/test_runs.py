import json
import os
import time

import pytest

from fedthorax.server.consortium.control import FlowerRun, ServerNotRunningError
from fedthorax.server.consortium.follow import wait_until_over
from fedthorax.server.consortium.runs import Submission, find_submission, note_submission, read_submissions, verdict


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


def test_a_silent_server_is_told_once_and_waited_for(folder, submission, monkeypatch):
    class Link:
        answers = iter(
            [
                ServerNotRunningError("no answer"),
                ServerNotRunningError("no answer"),
                FlowerRun(7, "running", "", ""),
                flower("completed"),
            ]
        )

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def run(self, run_id):
            assert run_id == 7
            answer = next(self.answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr("fedthorax.server.consortium.follow.control", lambda folder: Link())
    told: list[str] = []
    assert wait_until_over(folder, submission.run_id, told.append, poll=0.0) == flower("completed")
    assert told == ["no answer; waiting for it", "the server answers again"]
