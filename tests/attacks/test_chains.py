"""Who rewrites a log is contradicted by somebody else's: the consortium's log too, by every hospital's."""

import json
from pathlib import Path

import pytest

from fedthorax.cli import main as cli
from fedthorax.client.site.egress import EgressLog, verify_egress
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium

REPLY = closed(TrainReply(site="north", round=2, error="no"))


@pytest.fixture
def folder(tmp_path: Path) -> ConsortiumFolder:
    (tmp_path / "c.yaml").write_text("name: thorax\naddress: 127.0.0.1:8443\n")
    folder = create_consortium(tmp_path / "c.yaml", tmp_path / "thorax")
    folder.audit.append("admitted", name="north")
    return folder


def test_a_rewritten_consortium_log_has_a_whole_chain_and_is_found_by_a_hospital(
    folder: ConsortiumFolder, tmp_path: Path
) -> None:
    egress = EgressLog(tmp_path / "egress.jsonl")
    for number in (1, 2):
        task = TrainTask(site="north", round=number, run=f"r{number}", consortium_head=folder.audit.head())
        egress.record(task, REPLY)
        folder.audit.append("run_submitted", run_id=str(number))
    assert verify_egress(egress.path, folder.audit.path) == 2
    lines = folder.audit.path.read_text().splitlines(keepends=True)
    folder.audit.path.write_text("".join(lines[:-2]))  # that a run was submitted never happened
    folder.audit.append("admitted", name="south")
    assert cli.run(["server", "log", "--verify", "--folder", str(folder.path)]) == 0
    with pytest.raises(ValueError, match="the server's log was cut off or written anew"):
        verify_egress(egress.path, folder.audit.path)


def test_the_lead_sees_its_log_and_a_changed_line_is_named(
    folder: ConsortiumFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["server", "log", "--folder", str(folder.path)]) == 0
    assert "admitted: name north" in capsys.readouterr().out
    assert cli.run(["server", "log", "--verify", "--folder", str(folder.path)]) == 0
    told = capsys.readouterr().out
    assert "2 lines, the chain is whole" in told
    assert folder.audit.head() in told
    path = folder.audit.path
    path.write_text(path.read_text().replace("north", "South"))
    assert cli.run(["server", "log", "--verify", "--folder", str(folder.path)]) == 1
    assert "audit.jsonl: line 2 was changed after it was written" in capsys.readouterr().err


def test_who_cuts_the_hospitals_log_is_found_by_its_own_worker(tmp_path: Path) -> None:
    egress = EgressLog(tmp_path / "egress.jsonl")
    heads = [egress.record(TrainTask(site="north", round=n, run="r"), REPLY).stamp for n in range(3)]
    assert all(egress.holds(head) for head in heads)
    lines = egress.path.read_text().splitlines(keepends=True)
    egress.path.write_text("".join(lines[:2]))
    assert not egress.holds(heads[2])
    assert json.loads(lines[2])["hash"] == heads[2]


def test_an_old_log_without_the_consortiums_heads_is_still_read(tmp_path: Path) -> None:
    audit, egress = AuditLog(tmp_path / "audit.jsonl"), EgressLog(tmp_path / "egress.jsonl")
    egress.record(TrainTask(site="north", round=1, run="r", audit_head=audit.append("run started")), REPLY)
    assert "consortium_audit_head" not in json.loads(egress.path.read_text())["facts"]
    assert verify_egress(egress.path, audit.path) == 1
