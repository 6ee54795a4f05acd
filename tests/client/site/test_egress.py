"""The record of what left."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from fedthorax.client.site.egress import EgressLog, verify_egress
from fedthorax.common.ground.audit import AuditLog, read_lines
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import TrainTask

from ...told import trained

TASK = TrainTask(site="north", round=2, run="r1", audit_head="")
WEIGHTS = {"disease": np.array([1, 2], np.float32)}
REPLY = closed(TrainReply(site="north", round=2, results=trained(5), weights=WEIGHTS))


def test_a_line_says_run_round_what_bytes_and_hash(tmp_path: Path) -> None:
    log = EgressLog(tmp_path / "egress.jsonl")
    sent = log.record(TASK, REPLY)
    (line,) = list(read_lines(log.path))
    assert sent.stamp == line["hash"]
    assert (sent.manifest, sent.text, sent.data) == (REPLY.manifest, REPLY.text, REPLY.data)
    assert line["event"] == "sent"
    assert line["facts"] == {
        "run": "r1",
        "round": 2,
        "task": "train",
        "task_id": TASK.id,
        "what": {"results": ["train", "valid"], "weights": {"disease": 2}},
        "bytes": len(REPLY.manifest) + len(REPLY.text) + 8,
        "sha256": hashlib.sha256(REPLY.manifest).hexdigest(),
        "server_audit_head": "",
    }


def test_the_same_reply_sent_again_has_the_same_hash_and_a_line_of_its_own(tmp_path: Path) -> None:
    log = EgressLog(tmp_path / "egress.jsonl")
    log.record(TASK, log.record(TASK, REPLY), again=True)
    first, second = list(read_lines(log.path))
    assert (first["event"], second["event"]) == ("sent", "sent again")
    assert first["facts"]["sha256"] == second["facts"]["sha256"]


def test_a_changed_line_and_a_removed_line_break_the_chain(tmp_path: Path) -> None:
    log = EgressLog(tmp_path / "egress.jsonl")
    for _ in range(3):
        log.record(TASK, REPLY)
    assert verify_egress(log.path) == 3
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join(lines[:1] + lines[2:]))
    with pytest.raises(ValueError, match="line 2 does not follow"):
        verify_egress(log.path)
    log.path.write_text(lines[0].replace('"round":2', '"round":3'))
    with pytest.raises(ValueError, match="line 1 was changed"):
        verify_egress(log.path)


def test_the_servers_log_must_hold_every_head_that_it_told_us(tmp_path: Path) -> None:
    audit, log = AuditLog(tmp_path / "audit.jsonl"), EgressLog(tmp_path / "egress.jsonl")
    for number in range(2):
        head = audit.append("round closed", round=number)
        log.record(TrainTask(site="north", round=number, run="r1", audit_head=head), REPLY)
    assert verify_egress(log.path, audit.path) == 2
    audit.path.write_text(audit.path.read_text().splitlines(keepends=True)[0])
    with pytest.raises(ValueError, match="lacks the line that the server named in round 1"):
        verify_egress(log.path, audit.path)
    other = AuditLog(tmp_path / "other.jsonl")
    other.append("round closed", round=7)
    with pytest.raises(ValueError, match="is it another run's"):
        verify_egress(log.path, other.path)


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert verify_egress(tmp_path / "egress.jsonl") == 0


def test_an_error_that_leaves_is_written_down_too(tmp_path: Path) -> None:
    log = EgressLog(tmp_path / "egress.jsonl")
    log.record(TASK, closed(TrainReply(site="north", round=2, error="not today")))
    assert json.loads(log.path.read_text())["facts"]["what"]["error"] == "not today"
