"""A trained model on disk: ``NAME.keras``, and ``model.json`` beside it, which says what its outputs mean."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from pydantic import ValidationError

from fedthorax.common.config.data import CT_WINDOWS, CtWindow
from fedthorax.common.config.training import AugmentationConfig
from fedthorax.common.ground.atomic_write import replacing
from fedthorax.common.metrics.operating import OperatingPoints, fixed_operating_points
from fedthorax.common.model.segments import SegmentLayout, weights_digest
from fedthorax.common.release.model_facts import FORMAT, check_entry

PACKED = ("model.keras", "model.json", "card.md")
"""What a packed model holds; the first two are needed."""

_NAMES = ("model.keras", "best.keras")  # of a packed model; of a run folder
_NEEDED = ("findings", "cancer_classes", "image_size", "aspect", "threshold", "models")


@dataclass(frozen=True)
class SavedModel:
    """``facts`` is the content of model.json, ``points`` the calibration and thresholds that the model works with:
    the common ones, or those of the hospital ``site``."""

    path: Path
    model: keras.Model
    facts: dict[str, Any]
    points: OperatingPoints
    site: str | None = None

    @property
    def findings(self) -> list[str]:
        return list(self.facts["findings"])

    @property
    def cancer_classes(self) -> list[str]:
        return list(self.facts["cancer_classes"])

    @property
    def views(self) -> int:
        """Of each image, that a probability is the mean over; calibration and thresholds are of such means."""
        return int(self.facts.get("views", 1))

    @property
    def augmentation(self) -> AugmentationConfig:
        """How the views after the first are made."""
        return AugmentationConfig(**self.facts.get("augmentation", {}))

    @property
    def windows(self) -> Sequence[CtWindow]:
        """Through which the network sees a CT slice."""
        return [CtWindow(**window) for window in self.facts.get("ct_windows", ())] or CT_WINDOWS

    @property
    def entry(self) -> dict[str, Any]:
        """Of model.json: round, hashes, operating points, evaluation."""
        entry: dict[str, Any] = self.facts["models"][self.path.name]
        return entry

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What the test of the model gave, central or at the hospital whose thresholds it works with."""
        found: dict[str, Any] | None = (self.entry["sites"][self.site] if self.site else self.entry).get("evaluation")
        return found


def load_saved_model(path: Path, site: str | None = None) -> SavedModel:
    """The model at ``path``: a ``.keras`` file, a folder with one, a run folder (its best model), or a packed ``.zip``.

    With ``site`` it works with that hospital's own calibration and thresholds. Raises FileNotFoundError when a part is
    missing, ValueError when the parts do not belong together or the hospital has chosen none.
    """
    if path.suffix == ".zip":
        return _load_packed(path, site)
    file = model_in(path) if path.is_dir() else path
    if file is None or not file.is_file():
        raise FileNotFoundError(
            f"no model at {file or path}; expected a .keras file, a packed .zip, or a run folder that has finished a "
            "round"
        )
    facts_file = file.with_name("model.json")
    if not facts_file.is_file():
        raise FileNotFoundError(f"{facts_file} is missing: it says which findings {file.name} predicts")
    facts = _read_facts(facts_file)
    entry = facts["models"].get(file.name)
    if entry is None:
        raise ValueError(f"{file} and {facts_file} do not belong together: model.json does not know this file")
    check_entry(facts, entry, str(facts_file))
    _check_card(file.with_name("card.md"), facts)
    try:
        model = keras.models.load_model(file, compile=False)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is not a Keras model: {str(error).splitlines()[0]}") from error
    if entry["weights_sha256"] != weights_digest(SegmentLayout(model).read()):
        raise ValueError(f"{file} and {facts_file} do not belong together: the weights have another hash")
    return SavedModel(file, model, facts, _points(facts, entry, facts_file, site), site)


def model_in(folder: Path) -> Path | None:
    """The model that a model folder or a run folder stands for, None if it holds none."""
    for name in _NAMES:
        for file in (folder / name, folder / "model" / name):
            if file.is_file():
                return file
    return None


def _read_facts(file: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    missing = [name for name in _NEEDED if name not in facts]
    if missing:
        raise ValueError(f"{file} lacks {', '.join(missing)}; it was not written by this version of FedThorax")
    if facts.get("format") != FORMAT:
        raise ValueError(f"{file} has format {facts.get('format')!r}, but this version of FedThorax reads {FORMAT}")
    return facts


def _check_card(card: Path, facts: dict[str, Any]) -> None:
    """A card may be missing or edited, but not be about other weights."""
    if card.is_file():
        text = card.read_text(encoding="utf-8", errors="replace")
        if not any(entry["weights_sha256"] in text for entry in facts["models"].values()):
            raise ValueError(f"{card} is about another model: it names none of the hashes of model.json beside it")


def _points(facts: dict[str, Any], entry: dict[str, Any], file: Path, site: str | None) -> OperatingPoints:
    findings, classes = facts["findings"], facts["cancer_classes"]
    stored = entry.get("operating_points")
    if site is not None:
        own = entry.get("sites") or {}
        if site not in own:
            raise ValueError(
                f"{file} has no thresholds of the hospital {site!r}, only of {', '.join(own) or 'none'}: a hospital "
                "chooses them for the selected model, from at least ten validation images with a label and ten without"
            )
        chosen = own[site]["operating_points"]
        # What the hospital does not give away is as for everybody.
        stored = {**(stored or {}), **{key: value for key, value in chosen.items() if value not in ({}, None)}}
        if not chosen["cancer"]:
            stored["cancer_temperature"] = entry["operating_points"]["cancer_temperature"]
    if stored is None:
        reason = "None were chosen for this model: it is not the selected one, or was not tested."
        return fixed_operating_points(findings, classes, facts["threshold"], reason)
    try:
        text = json.dumps({key: value for key, value in stored.items() if key != "round"})
        points = OperatingPoints.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{file}: operating_points: {error.errors()[0]['msg']}") from error
    if list(points.disease) != findings or list(points.cancer) != classes:
        raise ValueError(f"{file}: operating_points are of other labels than the model's")
    return points


def pack(saved: SavedModel, target: Path) -> Path:
    """One zip of the model, its facts and its card; what it holds opens as a folder too."""
    facts = {**saved.facts, "models": {PACKED[0]: saved.entry}}
    with replacing(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(saved.path, PACKED[0], zipfile.ZIP_STORED)  # is a zip itself
        archive.writestr(PACKED[1], json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        card = saved.path.with_name(PACKED[2])
        if card.is_file():
            archive.write(card, PACKED[2])
    return target


def _load_packed(path: Path, site: str | None) -> SavedModel:
    if not path.is_file():
        raise FileNotFoundError(f"no model at {path}")
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="fedthorax-model-") as folder:
            names = set(archive.namelist())
            missing = [name for name in PACKED[:2] if name not in names]
            if missing:
                raise ValueError(f"{path} is no packed model: it lacks {' and '.join(missing)}")
            for name in PACKED:
                if name in names:
                    with archive.open(name) as source, (Path(folder) / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
            return load_saved_model(Path(folder) / PACKED[0], site)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is damaged or no zip: {error}") from error
