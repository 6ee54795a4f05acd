"""A trained model on disk: ``NAME.keras``, and ``model.json`` beside it, which says what its outputs mean."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from fedthorax.common.model.segments import SegmentLayout, weights_digest

_NEEDED = ("findings", "cancer_classes", "image_size", "aspect", "threshold", "models")


@dataclass(frozen=True)
class SavedModel:
    """``facts`` is the content of model.json."""

    path: Path
    model: keras.Model
    facts: dict[str, Any]

    @property
    def findings(self) -> list[str]:
        return list(self.facts["findings"])

    @property
    def cancer_classes(self) -> list[str]:
        return list(self.facts["cancer_classes"])


def load_saved_model(path: Path) -> SavedModel:
    """The model at ``path``: a ``.keras`` file, or a run folder, which stands for its ``model/best.keras``.

    Raises FileNotFoundError when a part is missing, ValueError when the parts do not belong together.
    """
    file = path / "model" / "best.keras" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"no model at {file}; expected a .keras file or a run folder that has finished a round")
    facts_file = file.with_name("model.json")
    if not facts_file.is_file():
        raise FileNotFoundError(f"{facts_file} is missing: it says which findings {file.name} predicts")
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{facts_file} is not JSON: {error}") from error
    missing = [name for name in _NEEDED if name not in facts]
    if missing:
        raise ValueError(f"{facts_file} lacks {', '.join(missing)}; it was not written by this version of FedThorax")
    try:
        model = keras.models.load_model(file, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is not a Keras model: {str(error).splitlines()[0]}") from error
    expected = facts["models"].get(file.name, {}).get("weights_sha256")
    if expected != weights_digest(SegmentLayout(model).read()):
        raise ValueError(f"{file} and {facts_file} do not belong together: the weights have another hash")
    return SavedModel(file, model, facts)
