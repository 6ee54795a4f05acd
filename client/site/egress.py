"""The record of everything that left the building: ``egress.jsonl``, one line for each reply, hash-chained.

A line says run, round, kind of task, what (the keys of the results and the segments with their number of values), how
many bytes, and their SHA-256: that of the reply as ``content_of`` writes it with an empty ``egress_head``, text first,
then the weights. The head of the server's own chain stands in each line, as the server holds ours: who cuts off or
recomputes one of the two chains is contradicted by the other.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedthorax.client.site.content import content_of
from fedthorax.common.ground.audit import AuditLog, verify
from fedthorax.common.messages import Reply, Task


class EgressLog:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = AuditLog(path)

    def mend(self) -> None:
        """Take off a half-written last line, such as a power cut leaves, and say so in the log."""
        self._log.mend()

    def record(self, task: Task, reply: Reply, again: bool = False) -> Reply:
        """Write down that ``reply`` is about to leave, and return it with the new head of the chain.

        ``again``: it left before, as the answer to the same task. ValueError where the log is damaged: then nothing may
        leave.
        """
        reply = replace(reply, egress_head="")
        content = content_of(reply)
        digest = hashlib.sha256()
        for piece in content.pieces():
            digest.update(piece)
        what: dict[str, Any] = {
            "results": sorted(reply.results),
            "weights": {name: len(values) for name, values in reply.weights.items()},
        }
        if reply.beside:
            what["beside"] = {name: len(values) for name, values in reply.beside.items()}
        if reply.packed:
            what["packed"] = {name: len(values) for name, values in reply.packed.items()}
        if reply.lacking:
            what["lacking"] = list(reply.lacking)
        if reply.error is not None:
            what["error"] = reply.error
        head = self._log.append(
            "sent again" if again else "sent",
            run=task.run,
            round=task.round,
            task=task.kind,
            task_id=task.id,
            what=what,
            bytes=content.num_bytes,
            sha256=digest.hexdigest(),
            server_audit_head=task.audit_head,
        )
        return replace(reply, egress_head=head)


def read_egress(path: Path) -> list[dict[str, Any]]:
    """The lines in order; none if nothing has left yet."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_heads(path: Path) -> set[str]:
    """The hashes of all lines: every head that the log has had."""
    return {line["hash"] for line in read_egress(path)}


def verify_egress(path: Path, server_audit: Path | None = None) -> int:
    """Check the chain and return its number of lines.

    With the server's ``audit.jsonl`` of a run, check that log too, and that every head of it that was told to this
    hospital still stands in it. ValueError names the first fault.
    """
    if not path.is_file():
        return 0
    verify(path)
    lines = read_egress(path)
    if server_audit is not None:
        verify(server_audit)
        with server_audit.open(encoding="utf-8") as file:
            known = {json.loads(line)["hash"] for line in file}
        seen = [line for line in lines if line["facts"]["server_audit_head"]]
        if not any(line["facts"]["server_audit_head"] in known for line in seen):
            raise ValueError(f"{server_audit}: not one of the heads that this hospital was told; is it another run's?")
        runs = {line["facts"]["run"] for line in seen if line["facts"]["server_audit_head"] in known}
        for line in seen:
            facts = line["facts"]
            if facts["run"] in runs and facts["server_audit_head"] not in known:
                raise ValueError(
                    f"{server_audit}: lacks the line that the server named in round {facts['round']} "
                    f"({line['time']}): the server's log was cut off or written anew"
                )
    return len(lines)
