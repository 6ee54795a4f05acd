import json
import re
import time

import pytest

from fedthorax.cli import main as cli
from fedthorax.common.ground.events import EventLog
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.consortium.admission import admit, revoke
from fedthorax.server.consortium.runs import Submission, note_submission
from fedthorax.server.consortium.status import ago, consortium_status


def test_a_server_that_does_not_run_is_told_with_all_that_is_known(folder, applicant, tmp_path):
    for name in ("St. Anna", "Berta"):
        admit(folder, applicant(name).file)
    revoke(folder, "Berta")
    folder.last_seen.write_text(json.dumps({"St. Anna": time.time() - 120}))
    data = {"splits": {"train": {"xray": 30, "ct": 20}}}
    (tmp_path / "old").mkdir()
    heard = {"sites": {"St. Anna": {"data": data, "software_version": "0.1.1"}}}
    (tmp_path / "old" / "metrics.json").write_text(json.dumps(heard))
    note_submission(folder, Submission(1, "old", str(tmp_path / "old"), "o.yaml", 1.0, False))
    note_submission(folder, Submission(2, "new", str(tmp_path / "new"), "n.yaml", 2.0, False))

    status = consortium_status(folder)
    assert (status.name, status.running, status.certificate_days) == ("thorax", False, 396)
    anna, berta = status.hospitals
    assert (anna.name, anna.state, anna.data, anna.software_version) == ("St. Anna", "not connected", data, "0.1.1")
    assert (berta.name, berta.state, berta.last_seen, berta.data) == ("Berta", "revoked", None, None)
    assert berta.software_version == "0.1.0"  # of its registration: no run has heard of it


def test_of_a_run_that_goes_on_is_told_who_waits_for_a_person_what_passes_and_whose_sum_it_is(
    folder, applicant, tmp_path, capsys
):
    for name in ("St. Anna", "Berta"):
        admit(folder, applicant(name).file)
    with RunFolder.create(tmp_path / "lungs") as run:
        note_submission(folder, Submission(1, "lungs", str(run.path), "l.yaml", 1.0, False))
        with EventLog(run.events) as events:
            events.emit("run", name="lungs", rounds=2, sites=["St. Anna", "Berta"])
            events.emit("hospital", site="St. Anna", state="approval", since=time.time() - 600)
            events.emit("hospital", site="Berta", state="working", since=time.time())
            events.emit("note", text="round 1 is masked: the sum is of St. Anna, Berta", about="masks")
            events.emit("note", text="another word")
            for done in (0, 30_000_000):
                events.emit("site", site="Berta", round=1, stage="send", done=done, total=54_000_000)
        standing = consortium_status(folder)
        assert standing.masked == {"lungs": "round 1 is masked: the sum is of St. Anna, Berta"}
        anna, berta = standing.hospitals
        assert (list(anna.asked), berta.asked, anna.passes) == (["lungs"], {}, None)
        assert re.fullmatch(r"sending the update, .* MB/s, .* left \(30.0/54.0 MB\)", berta.passes)
        assert cli.run(["server", "status", "--folder", str(folder.path)]) == 0
        assert (
            "  a person there has yet to agree to the run lungs, asked 10 min ago (fedthorax site approve lungs)\n"
            in (said := capsys.readouterr().out)
        )
        assert f"  {berta.passes}\n" in said
        assert "run lungs: round 1 is masked: the sum is of St. Anna, Berta\n" in said
    standing = consortium_status(folder)  # the run is over
    assert (standing.hospitals[0].asked, standing.masked) == ({}, {})


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (89, "89 s ago"), (300, "5 min ago"), (7200, "2 h ago"), (400000, "2001-09-04")],
)
def test_how_long_ago(seconds, words):
    assert ago(1_000_000_000 - seconds, now=1_000_000_000) == words
    assert ago(None) == "never"
