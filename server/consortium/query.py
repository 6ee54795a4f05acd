"""Asking the hospitals of a consortium for their numbers: a query round of its own, with no model and no run folder.

``ask_consortium`` is the lead's side. It has the SuperLink start a ServerApp, as for a run; that one calls
``answer_query`` and leaves what it heard in ``statistics/`` of the consortium's folder.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedthorax.common.config import Experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.machine import full_disk
from fedthorax.common.ground.strict_json import canonical_json
from fedthorax.server.consortium.control import control
from fedthorax.server.consortium.folder import ConsortiumFolder, require_admitted
from fedthorax.server.consortium.runs import POLL_SECONDS, wait_until_over
from fedthorax.server.consortium.submit import hand_in
from fedthorax.server.statistics import ask_statistics

if TYPE_CHECKING:
    from fedthorax.server.channel import Channel


def ask_consortium(
    experiment: Experiment, folder: ConsortiumFolder, tell: Callable[[str], None], poll: float = POLL_SECONDS
) -> tuple[dict[str, Any], Path]:
    """The document of ``ConsortiumStatistics`` and the file that keeps it; ``experiment`` is ``for_consortium``.

    ValueError where a hospital is not admitted, ServerNotRunningError where nobody serves, RuntimeError with every
    hospital's reason where none answers. Who interrupts ends the query.
    """
    require_admitted(folder, experiment.data.hospitals)
    with control(folder) as link:
        link.nodes()
    run_id, submitted = hand_in(experiment, folder, {"statistics": True})
    folder.audit.append("statistics_asked", run_id=str(run_id), name=experiment.name)
    try:
        flower = wait_until_over(folder, run_id, tell, poll)
    except KeyboardInterrupt:
        with control(folder) as link:
            link.stop(run_id)
        raise
    answer = folder.statistics / f"{submitted.stem}.json"
    try:
        told = json.loads(answer.read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = full_disk(folder.path) or (flower.details.strip() if flower else "")
        raise RuntimeError(
            f"the query could not be made: {why or 'it ended without a word; see logs/superlink.log'}"
        ) from None
    if told["error"] is not None:
        raise RuntimeError(told["error"])
    document: dict[str, Any] = told["statistics"]
    return document, answer


def answer_query(experiment: Experiment, sites: Sequence[str], channel: "Channel", folder: Path, name: str) -> None:
    """Ask every hospital of ``sites`` over ``channel`` and write ``statistics/NAME.json``: ``statistics`` is null where
    ``error`` says why, and the other way round. The file never tells which images two hospitals share."""
    place = ConsortiumFolder(folder)
    place.statistics.mkdir(exist_ok=True)
    error, document = None, None
    try:
        document = ask_statistics(travelling(experiment), sites, channel).document()
    except (RuntimeError, OSError, ValueError) as problem:
        error = " ".join(str(problem).split()) or type(problem).__name__
    told = {"name": experiment.name, "error": error, "statistics": document}
    write_json(place.statistics / f"{name}.json", told)
    digest = hashlib.sha256(canonical_json(document).encode()).hexdigest() if document else None
    answered = list(document["sites"]) if document else []
    place.audit.append("statistics_gathered", name=experiment.name, hospitals=answered, sha256=digest, error=error)
