"""One run from its folder to its report, whatever carries the messages."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedthorax.common.atomic_write import write_text
from fedthorax.common.audit import AuditLog
from fedthorax.common.config import Experiment
from fedthorax.common.events import EventLog
from fedthorax.common.model.segments import weights_digest
from fedthorax.common.report import write_report
from fedthorax.common.run_folder import RunFolder, config_sha256, package_versions
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.server.central import CentralData
from fedthorax.server.channel import Channel, Interrupted
from fedthorax.server.checkpoints import Checkpoints
from fedthorax.server.record import RunRecord
from fedthorax.server.rounds import Rounds
from fedthorax.server.selection import Selection

BuildNetwork = Callable[[Experiment], tuple[Network, FeatureStore]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``status`` is finished or interrupted, ``metrics`` what metrics.json holds."""

    status: str
    folder: Path
    metrics: dict[str, Any]


def build_network(experiment: Experiment) -> tuple[Network, FeatureStore]:
    """A network of its own, and the store of its pooled features."""
    network = Network(experiment)
    return network, FeatureStore(network, experiment.data.cache.folder)


def run_session(
    experiment: Experiment,
    sites: tuple[str, ...],
    channel: Channel,
    folder: RunFolder,
    mode: str,
    build: BuildNetwork = build_network,
) -> Outcome:
    """Run all rounds with the hospitals ``sites`` over ``channel`` and leave a complete run folder, failed or not.

    The run folder is open for writing and stays the caller's to close. An error is written into metrics.json and the
    report before it is raised again; an interruption is an outcome and not an error.
    """
    started = time.monotonic()
    versions = package_versions()
    record = RunRecord(experiment, mode, sites, config_sha256(experiment), versions)
    checkpoints = Checkpoints(folder.checkpoints, experiment.output.keep_checkpoints)
    network: Network | None = None
    status, problem = "failed", "stopped without a word"
    with EventLog(folder.events) as events:
        audit = AuditLog(folder.audit)
        try:
            folder.write_config(experiment, {"versions": versions, "seed": experiment.seed})
            folder.write_metrics(record.document)
            audit.append(
                "run started", name=experiment.name, config_sha256=config_sha256(experiment), sites=list(sites)
            )
            events.emit("run", name=experiment.name, rounds=experiment.training.num_rounds, sites=list(sites))
            events.emit("server", round=0, stage="load")
            central = CentralData(
                experiment, lambda done, total: events.emit("server", round=0, stage="load", done=done, total=total)
            )
            network, store = build(experiment)
            rounds = Rounds(
                experiment,
                sites,
                channel,
                record,
                events,
                audit,
                checkpoints,
                network,
                store,
                central,
                lambda: folder.write_metrics(record.document),
                Selection(experiment.evaluation.selection_metric),
            )
            predictions = rounds.run()
            write_text(folder.test_predictions, central.predictions_csv(predictions))
            status, problem = "finished", ""
        except (Interrupted, KeyboardInterrupt):
            status, problem = "interrupted", "stopped by a person"
        except Exception as error:
            problem = " ".join(str(error).split()) or type(error).__name__
            raise
        finally:
            seconds = time.monotonic() - started
            record.finish(status, problem or None, seconds, channel.bytes_sent, channel.bytes_received)
            if network is not None and checkpoints.rounds():
                save_models(experiment, network, checkpoints, record, folder)
            fingerprints = {name: entry["fingerprint"] for name, entry in record.document["sites"].items()}
            facts = {"versions": versions, "seed": experiment.seed, "data_fingerprints": fingerprints}
            folder.write_config(experiment, facts)
            folder.write_metrics(record.document)
            write_report(folder.path)
            audit.append("run ended", status=status)
            events.emit("end", status=status, error=problem or None)
    return Outcome(status, folder.path, record.document)


def save_models(
    experiment: Experiment, network: Network, checkpoints: Checkpoints, record: RunRecord, folder: RunFolder
) -> None:
    """``model/best.keras`` and ``model/last.keras``, and ``model/model.json`` that says what their outputs mean."""
    best_round = record.document["best_round"]
    last_round = checkpoints.rounds()[-1]
    rounds = {"best": last_round if best_round is None else best_round, "last": last_round}
    facts: dict[str, Any] = {
        "name": experiment.name,
        "findings": list(experiment.labels.findings),
        "cancer_classes": list(experiment.labels.cancer_classes),
        "image_size": experiment.model.image_size,
        "aspect": experiment.data.aspect,
        "ct_windows": [window.model_dump() for window in experiment.data.ct_windows],
        "threshold": experiment.evaluation.threshold,
        "versions": package_versions(),
        "models": {},
    }
    for kind, path in (("last", folder.last_model), ("best", folder.best_model)):
        weights, _ = checkpoints.load(rounds[kind])
        network.layout.write(weights)
        temporary = path.with_name(f"{path.stem}.part.keras")
        network.model.save(temporary)
        temporary.replace(path)
        facts["models"][path.name] = {"round": rounds[kind], "weights_sha256": weights_digest(weights)}
    write_text(folder.model / "model.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
