"""One run from its folder to its report, whatever carries the messages."""

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedthorax.common.config import Experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.events import EventLog
from fedthorax.common.ground.machine import FULL, full_disk
from fedthorax.common.model.dual import MODALITIES
from fedthorax.common.record.run import ChosenPoints
from fedthorax.common.record.run_folder import (
    ENDED_FROM_OUTSIDE,
    RunFolder,
    config_sha256,
    machine_facts,
    package_versions,
)
from fedthorax.common.report import write_report
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.server.broadcast import Broadcast
from fedthorax.server.central import CentralData
from fedthorax.server.channel import Channel, Interrupted
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.examples import write_examples
from fedthorax.server.held_segments import Holdings
from fedthorax.server.hospitals import Hospitals
from fedthorax.server.ledger import Ledger
from fedthorax.server.models import OwnModels, save_models, save_personal_models
from fedthorax.server.record import RunRecord
from fedthorax.server.resume import OpenRun, writable
from fedthorax.server.rounds import Rounds
from fedthorax.server.tracking import Tracking

BuildNetwork = Callable[[Experiment], tuple[Network, FeatureStore]]
Mode = Literal["simulate", "train", "consortium"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``status`` is finished or interrupted, ``metrics`` what metrics.json holds."""

    status: str
    folder: Path
    metrics: dict[str, Any]


def build_network(experiment: Experiment, modalities: Sequence[str] = MODALITIES) -> tuple[Network, FeatureStore]:
    """A network of its own, and the store of its pooled features."""
    network = Network(experiment, modalities)
    return network, FeatureStore(network, experiment.data.cache.folder)


def run_session(
    experiment: Experiment,
    sites: tuple[str, ...],
    channel: Channel,
    run: OpenRun,
    mode: Mode,
    build: BuildNetwork = build_network,
    own_models: OwnModels | None = None,
) -> Outcome:
    """Run all rounds that are left with the hospitals ``sites`` over ``channel`` and leave a complete run folder.

    The run folder is open for writing and stays the caller's to close. An error is written into metrics.json and the
    report before it is raised again; an interruption is an outcome and not an error. In a consortium the hospitals get
    the experiment without folders, and when it is over the models. In a simulation ``own_models`` gives those that the
    hospitals have made for themselves.
    """
    folder, start = run.folder, run.checkpoint
    versions, fingerprint = package_versions(), config_sha256(experiment)
    facts = {"versions": versions, "machine": machine_facts(), "seed": experiment.seed}
    begun = time.monotonic()
    if start is None:
        record = RunRecord.begun(experiment, mode, sites, secrets.token_hex(16), fingerprint, versions)
    else:
        record = RunRecord.resumed(sites, start.record, fingerprint, versions)
        totals = record.document["totals"]
        begun -= totals["seconds"]
        channel.bytes_sent, channel.bytes_received = totals["bytes_sent"], totals["bytes_received"]
    # Rounds to average, and the one that a part goes back to when it stops, also after a damaged last one.
    needed = max(max(phase.average_last, 2 + (phase.part_patience or -1)) for phase in experiment.training.phases)
    checkpoints = Checkpoints(folder.checkpoints, max(experiment.output.keep_checkpoints, needed))
    network: Network | None = None
    tracking: Tracking | None = None
    status, problem, failed = "failed", ENDED_FROM_OUTSIDE, True
    with EventLog(folder.events) as events:
        audit = AuditLog(folder.audit)
        try:
            audit.mend()
            folder.write_config(experiment, facts)
            folder.write_metrics(record.document)
            _announce(run, experiment, sites, record, events, audit)
            events.emit("server", round=record.newest_round if start else 0, stage="load")
            central = CentralData(
                experiment, lambda done, total: events.emit("server", round=0, stage="load", done=done, total=total)
            )
            network, store = build(experiment)
            # Only now: TensorBoard starts TensorFlow, whose threads the network has to set before that.
            tracking = Tracking.opened(
                experiment, folder.path, record.run(), lambda text: events.emit("note", text=text)
            )
            sent = travelling(experiment) if mode == "consortium" else experiment
            ledger = Ledger(start.acknowledged, start.egress_heads) if start else Ledger()
            holdings = Holdings(start.holdings if start else None)
            codec, exact = experiment.federation.codec, network.layout.exact
            broadcast = Broadcast(codec, exact, start.broadcast if start else None)

            def write_record(told: Tracking = tracking) -> None:
                told.update(folder.write_metrics(record.document))

            digest, text = network.layout.digest, sent.model_dump_json()
            rounds = Rounds(
                Hospitals(experiment, sites, channel, record, events, audit, ledger, digest, text, holdings, broadcast),
                checkpoints,
                network,
                store,
                central,
                write_record,
                lambda: time.monotonic() - begun,
                start,
                run.leave_out,
                folder.masking,
            )
            with writable(folder.path, "make room, and go on with --resume"):
                predictions = rounds.run()
                write_text(folder.test_predictions, central.predictions_csv(predictions))
                points = ChosenPoints.model_validate(record.document["operating_points"], strict=False)
                write_examples(folder.examples, network, central, predictions, points)
                if own_models is not None:
                    best = network.layout.read()
                    save_personal_models(experiment, network, best, record.run(), folder, own_models)
                if mode == "consortium":
                    rounds.deliver()
            status, problem, failed = "finished", "", False
        except (Interrupted, KeyboardInterrupt):
            status, problem, failed = "interrupted", "stopped by a person", False
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            raise
        finally:
            if (
                problem and not problem.startswith(FULL) and (full := full_disk(folder.path))
            ):  # whatever tripped over it first, perhaps Flower alone
                problem = f"{full}, and go on with --resume ({problem})"
            with contextlib.suppress(OSError):
                folder.last_words(status, problem)
            record.finish(status, problem or None, time.monotonic() - begun, channel.bytes_sent, channel.bytes_received)
            fingerprints = {name: entry["fingerprint"] for name, entry in record.document["sites"].items()}

            def models() -> None:
                if network is not None and checkpoints.rounds():
                    save_models(experiment, network, checkpoints, record.run(), folder)

            def tracked() -> None:
                if tracking is not None:
                    tracking.close(record.run())

            folder.use_reserve()
            _leave(
                [
                    # First where there may be no room for more; a run that finished says so when all else is there.
                    *([lambda: folder.write_metrics(record.document)] if problem else []),
                    models,
                    lambda: folder.write_config(experiment, {**facts, "data_fingerprints": fingerprints}),
                    lambda: folder.write_metrics(record.document),
                    lambda: write_report(folder.path),
                    tracked,
                    lambda: audit.append("run ended", status=status),
                    lambda: events.emit("end", status=status, error=problem or None),
                ],
                failed,
                folder,
            )
    return Outcome(status, folder.path, record.document)


def _announce(
    run: OpenRun,
    experiment: Experiment,
    sites: tuple[str, ...],
    record: RunRecord,
    events: EventLog,
    audit: AuditLog,
) -> None:
    document = record.document
    facts: dict[str, Any] = {"name": experiment.name, "run": document["run"], "sites": list(sites)}
    if run.checkpoint is None:
        audit.append("run started", **facts, config_sha256=document["config_sha256"])
    else:
        audit.append("run resumed", **facts, config_sha256=document["config_sha256"], after_round=run.checkpoint.round)
    events.emit(
        "run", name=experiment.name, mode=document["mode"], rounds=experiment.training.num_rounds, sites=list(sites)
    )
    simulated = document["mode"] == "simulate" and document.get("privacy")
    for line in (*run.notes, *(["the private noise comes from the seed: it protects nobody"] if simulated else [])):
        audit.append("note", text=line)
        events.emit("note", text=line)


def _leave(writes: list[Callable[[], Any]], failed: bool, folder: RunFolder) -> None:
    """Do every one of ``writes``, even after one that a full disk or a damaged file has stopped.

    Its error is raised at the end, unless the run has failed: then it would hide why.
    """
    first: Exception | None = None
    for write in writes:
        try:
            write()
        except (OSError, ValueError) as error:
            first = first or error
    if first is not None and not failed:
        with contextlib.suppress(OSError):
            folder.last_words("failed", f"what it measured could not be written: {first}")
        raise first
