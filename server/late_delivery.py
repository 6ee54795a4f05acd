"""Models and reports for hospitals that were away when their run ended: ``fedthorax run --deliver NAME``."""

import time

from fedthorax.common.config import Experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.events import EventLog
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report import write_report
from fedthorax.server.channel import Channel
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.consortium.runs import without_results
from fedthorax.server.delivery import deliver
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.ledger import Ledger
from fedthorax.server.record import RunRecord
from fedthorax.server.resume import writable
from fedthorax.server.session import BuildNetwork, Outcome, build_network


def deliver_late(
    experiment: Experiment, channel: Channel, folder: RunFolder, build: BuildNetwork = build_network
) -> Outcome:
    """Serve the hospitals that lack their results, and note it in the run folder, which is open for writing.

    Hospitals that are not connected are waited for as long as ``federation.connect_timeout_s``. RuntimeError that names
    who still lacks them.
    """
    names = without_results(folder.path)
    checkpoint, _ = Checkpoints(folder.checkpoints, experiment.output.keep_checkpoints).latest()
    document, begun = folder.read_metrics(), time.monotonic()
    record = RunRecord(tuple(document["sites"]), document)
    totals = document["totals"]
    channel.bytes_sent, channel.bytes_received = totals["bytes_sent"], totals["bytes_received"]
    audit = AuditLog(folder.audit)
    audit.mend()
    with EventLog(folder.events) as events:
        events.emit("run", name=experiment.name, mode="consortium", rounds=record.newest_round, sites=names)
        audit.append("late delivery begun", sites=names)
        network, _ = build(experiment)
        ledger = Ledger(checkpoint.acknowledged, checkpoint.egress_heads)
        sent = travelling(experiment).model_dump_json()
        hospitals = Hospitals(
            experiment, tuple(names), channel, record, events, audit, ledger, network.layout.digest, sent
        )
        with writable(folder.path, "make room, and try again"):
            served = deliver(hospitals, Checkpoints(folder.checkpoints, experiment.output.keep_checkpoints), names)
            for failure in record.rounds[-1]["failures"]:  # it happened, so it stays in the record
                if failure["stage"] == "finish" and failure["site"] in served:
                    failure["reason"] = f"{failure['reason']}; delivered later"
            seconds = (totals["seconds"] or 0.0) + time.monotonic() - begun
            totals |= {
                "seconds": seconds,
                "bytes_sent": channel.bytes_sent,
                "bytes_received": channel.bytes_received,
            }
            folder.write_metrics(document)
            write_report(folder.path)
        left = [name for name in names if name not in served]
        events.emit("end", status="finished", error=None)
    if left:
        raise RuntimeError(f"still without models and report: {', '.join(left)}; try again once they are connected")
    return Outcome("finished", folder.path, document)
