"""The models that a run leaves behind, and the facts beside them."""

import json
from typing import Any

from fedthorax.common.atomic_write import write_text
from fedthorax.common.config import Experiment
from fedthorax.common.model.segments import weights_digest
from fedthorax.common.run_folder import RunFolder, package_versions
from fedthorax.common.training.network import Network
from fedthorax.server.checkpoints import Checkpoints


def model_facts(experiment: Experiment) -> dict[str, Any]:
    """What a model's outputs mean: the content of model.json without its ``models``."""
    return {
        "name": experiment.name,
        "findings": list(experiment.labels.findings),
        "cancer_classes": list(experiment.labels.cancer_classes),
        "image_size": experiment.model.image_size,
        "aspect": experiment.data.aspect,
        "ct_windows": [window.model_dump() for window in experiment.data.ct_windows],
        "threshold": experiment.evaluation.threshold,
        "absent": experiment.model.absent,
        "versions": package_versions(),
    }


def save_models(
    experiment: Experiment, network: Network, checkpoints: Checkpoints, best_round: int | None, folder: RunFolder
) -> None:
    """``model/best.keras`` and ``model/last.keras``, and ``model/model.json`` that says what their outputs mean."""
    last_round = checkpoints.rounds()[-1]
    rounds = {"best": last_round if best_round is None else best_round, "last": last_round}
    facts: dict[str, Any] = {**model_facts(experiment), "models": {}}
    for kind, path in (("last", folder.last_model), ("best", folder.best_model)):
        weights = checkpoints.load(rounds[kind]).weights
        network.layout.write(weights)
        temporary = path.with_name(f"{path.stem}.part.keras")
        network.model.save(temporary)
        temporary.replace(path)
        facts["models"][path.name] = {"round": rounds[kind], "weights_sha256": weights_digest(weights)}
    write_text(folder.model / "model.json", json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
