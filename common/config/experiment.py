"""One experiment: everything that a run depends on, in one frozen value."""

from pathlib import Path

from pydantic import Field, model_validator

from fedthorax.common.algorithms import algorithm_of
from fedthorax.common.algorithms.settings import MAX_EXAMPLES
from fedthorax.common.config.data import DataConfig, SourceConfig
from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.config.federation import FederationConfig, SimulationConfig
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.config.output import OutputConfig
from fedthorax.common.config.patient_privacy import PatientPrivacy, refusal
from fedthorax.common.config.personalisation import PersonalisationConfig
from fedthorax.common.config.training import ENCODERS, PartConfig, TrainingConfig
from fedthorax.common.ground.frozen import Frozen


def require_modalities(model: ModelConfig, source: SourceConfig, place: str) -> None:
    """Raise ValueError where a hospital lacks a modality and the network has nothing to stand for it."""
    if source.lacking and model.absent != "token":
        raise ValueError(
            f"{place} has no {source.lacking}, and model.absent is {model.absent}; set model.absent to token, so that "
            "the network learns what stands for them, or give the folder"
        )


class Experiment(Frozen):
    """The whole YAML file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Name of the run and of its folder.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="All randomness of a run comes from this number.")
    labels: LabelsConfig = Field(description="What is predicted.")
    data: DataConfig = Field(description="Where the images lie and how they are paired.")
    model: ModelConfig = Field(default=ModelConfig(), description="The network.")
    training: TrainingConfig = Field(description="How a hospital trains.")
    federation: FederationConfig = Field(default=FederationConfig(), description="Rounds.")
    privacy: PatientPrivacy | None = Field(
        default=None, description="Differential privacy of patients; null: the model may remember any of them."
    )
    personalisation: PersonalisationConfig = Field(
        default=PersonalisationConfig(), description="What each hospital makes of the finished model for itself."
    )
    simulation: SimulationConfig = Field(default=SimulationConfig(), description="Only for runs on one machine.")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="Scoring and selection.")
    output: OutputConfig = Field(default=OutputConfig(), description="Where the run is written.")

    @model_validator(mode="after")
    def _parts_fit(self) -> "Experiment":
        unknown = sorted(set(self.training.loss.positive_weights) - set(self.labels.findings))
        if unknown:
            raise ValueError(
                f"training.loss.positive_weights names {', '.join(unknown)}, which labels.findings does not have"
            )
        for place, source in (
            *((f"data.hospitals.{name}", source) for name, source in self.data.hospitals.items()),
            ("data.central", self.data.central),
        ):
            xray = source.xray if source is not None else None
            mapping = xray.mapping if xray is not None else None
            for key, finding in mapping.foreign_findings(self.labels.findings) if mapping else ():
                raise ValueError(
                    f"{place}.xray.mapping.{key} names the finding {finding!r}, which labels.findings does not have"
                )
        for name, source in self.data.hospitals.items():
            if source is not None:
                require_modalities(self.model, source, f"data.hospitals.{name}")
        if self.data.central is not None:
            self._check_central(self.data.central)
        if self.training.modality_dropout and self.model.absent != "token":
            raise ValueError("training.modality_dropout leaves images out; set model.absent to token to stand for them")
        if self.evaluation.views > 1 and not self.training.augmentation.enabled:
            raise ValueError(
                f"evaluation.views is {self.evaluation.views}, but training.augmentation.enabled is false: a network "
                "that has only seen images as they are is scored on these; set views to 1, or enable augmentation"
            )
        waits = {
            "federation.patience": self.federation.patience,
            "training.schedule.plateau_patience": self.training.schedule.plateau_patience,
        }
        for name, rounds in waits.items():
            if rounds and self.evaluation.selection_metric == "last":
                raise ValueError(
                    f"{name} is {rounds}, but with evaluation.selection_metric last no round is better than another; "
                    "leave it out, or choose a figure"
                )
        if self.model.weights == "none" and self.model.batch_norm == "frozen":
            raise ValueError(
                "model.batch_norm is frozen, but model.weights is none: a random network whose normalisation never "
                "learns gives features near 0; set model.batch_norm to train, or give weights"
            )
        if self.model.weights == "none" and not self.training.phases[0].trains_backbones:
            raise ValueError(
                "training.phases begins with heads, but model.weights is none: heads learn little from random "
                "features; begin with a phase that trains all, or give weights"
            )
        for number, phase in enumerate(self.training.phases):
            for name, part in phase.parts.items():
                if words := self._idle(name, part, "heads" in phase.parts):
                    raise ValueError(f"training.phases.{number}.parts.{name} trains nothing: {words}; leave it out")
        min_sites = self.federation.min_sites
        if min_sites is not None and min_sites > len(self.data.hospitals):
            raise ValueError(
                f"federation.min_sites is {min_sites}, but data.hospitals has only {len(self.data.hospitals)}"
            )
        most = MAX_EXAMPLES // max(1, len(self.data.hospitals))
        if self.federation.largest_hospital > most:
            raise ValueError(
                f"federation.largest_hospital is {self.federation.largest_hospital}, but a round sums at most "
                f"{MAX_EXAMPLES} pairs exactly: of {len(self.data.hospitals)} hospitals {most} each"
            )
        strategy, settings = self.federation.strategy, self.federation.strategy_settings
        refuses = algorithm_of(strategy).refuses
        if refuses.codecs and self.federation.codec != "float32":
            raise ValueError(
                f"federation.strategy is {strategy}, {refuses.codecs}, but federation.codec is "
                f"{self.federation.codec}; set it to float32, or choose another strategy"
            )
        if refuses.tokens and self.model.absent == "token":
            raise ValueError(
                f"federation.strategy is {strategy}, {refuses.tokens}, but with model.absent: token they may hold "
                "different branches; choose another strategy"
            )
        if words := refusal(self):
            raise ValueError(words)
        if self.federation.secure_aggregation and any(phase.part_patience for phase in self.training.phases):
            raise ValueError(
                "training.phases[].part_patience changes what is trained from round to round, but masks are dealt for "
                "a phase as it stands (federation.secure_aggregation); leave part_patience out"
            )
        if self.federation.secure_aggregation:
            self._check_masks(refuses.masks)
        if algorithm_of(strategy).measures_batch_norm and (
            self.model.projection == "fixed" or self.model.head_norm != "batch"
        ):
            raise ValueError(
                f"federation.strategy is {strategy}, but the heads have no batch normalisation (model.head_norm, "
                "model.projection); choose another strategy"
            )
        needed = refuses.least_sites(settings)
        if self.required_sites < needed:
            raise ValueError(
                f"federation.strategy {strategy} with malicious_sites {settings.malicious_sites} needs the updates of "
                f"{needed} hospitals in every round, but a round may close with {self.required_sites} (min_sites)"
            )
        return self

    def _idle(self, name: str, part: PartConfig, beside_heads: bool) -> str | None:
        """Why a part that a phase names could not learn from anybody's images."""
        loss, task = self.training.loss, name
        if not self.model.fusion_units:
            task = dict(zip(ENCODERS, ("disease", "cancer"), strict=True)).get(name, name)
            if name == "fusion":
                return "model.fusion_units is empty"
        if part.top == 0 and beside_heads:
            return "its top is 0, and its projection is one of the heads"
        if part.top == 0 and self.model.projection == "fixed":
            return "its top is 0, and model.projection is fixed"
        weight = {"disease": loss.disease_weight, "cancer": loss.cancer_weight}.get(task)
        return f"training.loss.{task}_weight is 0" if weight == 0 else None

    def _check_masks(self, refusal: str | None) -> None:
        """What a sum of masked updates cannot be combined with."""
        federation, hospitals = self.federation, len(self.data.hospitals)
        asked, words = "federation.secure_aggregation is true", ""
        if refusal:
            words = f"federation.strategy is {federation.strategy}, {refusal}; choose another strategy"
        elif federation.codec != "float32":
            words = f"federation.codec is {federation.codec}; masked words cannot be packed: set it to float32"
        elif self.model.absent == "token" and not self.weighs_branches and self.privacy is None:
            words = (
                "federation.weigh_by is pairs, by which hospitals that lack a modality vote for what there was; set "
                "it to branches"
            )
        elif hospitals < max(3, federation.smallest_sum) and federation.smallest_sum > 2:
            words = (
                f"data.hospitals has {hospitals}, and a sum is of federation.smallest_sum {federation.smallest_sum} or "
                "more; with two each can work out the other's update: set it to 2 where both have agreed to that"
            )
        elif self.required_sites < federation.smallest_sum:
            words = f"federation.min_sites is {self.required_sites}, below smallest_sum {federation.smallest_sum}"
        if words:
            raise ValueError(f"{asked}, but {words}")

    def _check_central(self, central: SourceConfig) -> None:
        """The server may lack the modality that all hospitals lack: then there is nothing of it to score."""
        if central.lacking is None:
            return
        for name, source in self.data.hospitals.items():
            if source is None or source.lacking != central.lacking:
                raise ValueError(
                    f"data.central has no {central.lacking}, but the server scores both heads: hospital {name} may "
                    "have such images; give the folder, or leave it out at every hospital too"
                )
        require_modalities(self.model, central, "data.central")
        other = "cancer_roc_auc" if central.xray is not None else "disease_roc_auc"
        if self.evaluation.selection_metric == other:
            raise ValueError(
                f"evaluation.selection_metric is {other}, but data.central has no {central.lacking}: no round could be "
                "selected by it"
            )

    @property
    def weighs_branches(self) -> bool:
        """Whether each branch is averaged by its own counts."""
        chosen = self.federation.weigh_by
        return chosen == "branches" or (chosen is None and self.model.absent == "token" and self.privacy is None)

    @property
    def whole_everywhere(self) -> bool:
        """Whether every hospital has the network with both encoders: nothing can stand for a modality that one lacks,
        or its noise has to be in every part of the model."""
        return self.model.absent != "token" or self.privacy is not None

    @property
    def run_folder(self) -> Path:
        return self.output.folder / self.name

    @property
    def required_sites(self) -> int:
        """Updates without which a round is not closed."""
        return self.federation.min_sites or len(self.data.hospitals)
