import json
import time

import pytest

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
    (tmp_path / "old" / "metrics.json").write_text(json.dumps({"sites": {"St. Anna": {"data": data}}}))
    note_submission(folder, Submission(1, "old", str(tmp_path / "old"), "o.yaml", 1.0, False))
    note_submission(folder, Submission(2, "new", str(tmp_path / "new"), "n.yaml", 2.0, False))

    status = consortium_status(folder)
    assert (status.name, status.running, status.certificate_days) == ("thorax", False, 396)
    anna, berta = status.hospitals
    assert (anna.name, anna.state, anna.data, anna.software_version) == ("St. Anna", "not connected", data, "0.1.0")
    assert (berta.name, berta.state, berta.last_seen, berta.data) == ("Berta", "revoked", None, None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s ago"), (89, "89 s ago"), (300, "5 min ago"), (7200, "2 h ago"), (400000, "2001-09-04")],
)
def test_how_long_ago(seconds, words):
    assert ago(1_000_000_000 - seconds, now=1_000_000_000) == words
    assert ago(None) == "never"
