"""The record of everything that left the building: ``egress.jsonl``, one line for each reply, hash-chained.

A line says run, round, kind of task, what (the keys of the results and the segments with their number of values), how
many bytes, and the address of the parcel, which names all of them; the lead's log holds the same one for an update. The
heads of the server's own chains, the run's and the consortium's, stand in each line, as the server holds ours: who cuts
off or recomputes one of them is contradicted by another.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedthorax.common.ground.audit import AuditLog, parts, read_lines, verify
from fedthorax.common.messages.message import BESIDE, Task
from fedthorax.common.wire.parcel import Entry, Parcel

_HEADS = ("server_audit_head", "consortium_audit_head")  # of the run's log and of the consortium's


class EgressLog:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._log = AuditLog(path)

    def mend(self) -> None:
        """Take off a half-written last line, such as a power cut leaves, and say so in the log."""
        self._log.mend()

    def holds(self, head: str) -> bool:
        """Whether the log has ever had this head."""
        return self._log.holds(head)

    def record(self, task: Task, reply: Parcel, again: bool = False) -> Parcel:
        """Write down that ``reply`` is about to leave, and return it stamped with the new head of the chain.

        ``again``: it left before, as the answer to the same task. ValueError where the log is damaged: then nothing may
        leave.
        """
        told, segments = json.loads(reply.text), reply.contents.segments
        results = told.get("results") or {}
        theirs = {"consortium_audit_head": task.consortium_head} if task.consortium_head else {}
        what: dict[str, Any] = {
            "results": sorted(name for name, value in results.items() if value is not None),
            "weights": {name: size // 4 for name, size in _sizes(segments, "").items()},
        }
        if beside := {name: size // 4 for name, size in _sizes(segments, BESIDE).items()}:
            what["beside"] = beside
        if packed := {entry.name: entry.bytes for entry in segments if entry.packed}:
            what["packed"] = packed
        what |= {name: told[name] for name in ("lacking", "error", "undecided") if told.get(name)}
        head = self._log.append(
            "sent again" if again else "sent",
            run=task.run,
            round=task.round,
            task=task.kind,
            task_id=task.id,
            what=what,
            bytes=reply.num_bytes,
            sha256=reply.address,
            server_audit_head=task.audit_head,
            **theirs,
        )
        return replace(reply, stamp=head)


def verify_egress(path: Path, server_audit: Path | None = None) -> int:
    """Check the chain and return its number of lines.

    With the server's ``audit.jsonl``, of a run or of the consortium, check that log too, and that every head of it that
    was told to this hospital still stands in it. ValueError names the first fault.
    """
    if not parts(path):
        return 0
    count = verify(path)
    if server_audit is not None:
        verify(server_audit)
        known = {line["hash"] for line in read_lines(server_audit)}
        told = [line for line in read_lines(path) if "run" in line["facts"]]
        ours = next((key for key in _HEADS if any(line["facts"].get(key) in known for line in told)), None)
        if ours is None:
            raise ValueError(f"{server_audit}: not one of the heads that this hospital was told; is it another run's?")
        runs = {line["facts"]["run"] for line in told if line["facts"].get(ours) in known}
        for line in told:
            facts = line["facts"]
            of_it = ours == "consortium_audit_head" or facts["run"] in runs
            if of_it and facts.get(ours) and facts[ours] not in known:
                raise ValueError(
                    f"{server_audit}: lacks the line that the server named in round {facts['round']} "
                    f"({line['time']}): the server's log was cut off or written anew"
                )
    return count


def _sizes(segments: Iterable[Entry], prefix: str) -> dict[str, int]:
    """Bytes of the segments that are not packed, by what follows ``prefix``; those that stand beside the weights have
    one."""
    names = {entry.name: entry.bytes for entry in segments if not entry.packed}
    return {name.removeprefix(prefix): size for name, size in names.items() if name.startswith(BESIDE) == bool(prefix)}
