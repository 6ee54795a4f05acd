"""Local training: phases, optimiser, losses, augmentation."""

from typing import Literal

from pydantic import Field, model_validator

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.wording import number_of

Trained = Literal["heads", "all", "parts"]
PartName = Literal["heads", "xray", "ct", "fusion", "disease", "cancer"]
ENCODERS = ("xray", "ct")
TRAINED_WORDS = {"heads": "fusion and heads, backbones frozen", "all": "the whole network"}


class PartConfig(Frozen):
    """How one part of the network is trained."""

    rate_factor: float = Field(default=1.0, gt=0, description="Its learning rate as a multiple of the phase's.")
    top: int | None = Field(
        default=None,
        ge=0,
        description="Of xray and ct: so many of the backbone's last blocks, as Keras names them, on features below "
        "them that are computed once; 0: the projection alone; null: the whole backbone.",
    )


class PhaseConfig(Frozen):
    """A stretch of rounds in which the same part of the network is trained."""

    rounds: int = Field(ge=1, description="Number of federated rounds.")
    trainable: Trained = Field(
        description="heads: everything after the backbones, on pooled features that are computed once; all: "
        "everything; parts: what parts names."
    )
    parts: dict[PartName, PartConfig] = Field(
        default={},
        description="With trainable parts: what is trained, by name. xray, ct: the encoder; fusion, disease, cancer: "
        "these layers; heads: everything after the backbones (xray and ct are the backbones alone beside it). What is "
        "not named is frozen: used as in inference, not sent, and computed once where nothing below it changes.",
    )
    part_patience: int | None = Field(
        default=None,
        ge=1,
        description="With trainable parts: rounds without a better mean ROC-AUC of its own task (findings for xray and "
        "disease, classes for ct and cancer) on the central validation images before a part goes back to its best "
        "round and stops, while the others go on; null: never.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Learning rate at the start of this phase; null: training.learning_rate."
    )
    local_epochs: int = Field(default=1, ge=1, description="Passes over the hospital's pairs in one round.")
    average_last: int = Field(
        default=1,
        ge=1,
        description="Last rounds of the phase whose models are averaged: that of the very last one is their mean, and "
        "is scored, selected and gone on from as such; 1: it stays what it is.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "PhaseConfig":
        if self.average_last > self.rounds:
            raise ValueError(
                f"average_last is {self.average_last}, but the phase has only {number_of(self.rounds, 'round')}"
            )
        if (self.trainable == "parts") != bool(self.parts):
            raise ValueError(f"trainable is {self.trainable}, but parts names {', '.join(self.parts) or 'nothing'}")
        if self.part_patience and not self.parts:
            raise ValueError("part_patience stops one part before the others; name them: trainable: parts")
        twice = sorted({"fusion", "disease", "cancer"} & set(self.parts)) if "heads" in self.parts else []
        if twice:
            raise ValueError(f"parts: heads holds {', '.join(twice)} too; name either")
        for name, part in self.parts.items():
            if part.top is not None and name not in ENCODERS:
                raise ValueError(f"parts.{name}.top: only the encoders xray and ct have blocks")
        return self

    @property
    def trains_backbones(self) -> bool:
        encoders = [part for name, part in self.parts.items() if name in ENCODERS]
        return self.trainable == "all" or any(part.top != 0 for part in encoders)

    @property
    def words(self) -> str:
        """What is trained, for a person."""
        if self.trainable != "parts":
            return TRAINED_WORDS[self.trainable]
        told = []
        for name, part in self.parts.items():
            top = "" if part.top is None else f" (its last {part.top} blocks)" if part.top else " (no block of it)"
            told.append(f"{name}{top}" + (f" at {part.rate_factor:g} times the rate" if part.rate_factor != 1 else ""))
        return ", ".join(told)

    @property
    def highest_factor(self) -> float:
        return max((part.rate_factor for part in self.parts.values()), default=1.0)


class ScheduleConfig(Frozen):
    """Learning rate over the rounds of a phase."""

    kind: Literal["constant", "cosine", "step"] = Field(default="constant", description="Shape of the decay.")
    final_fraction: float = Field(
        default=0.1, gt=0, le=1, description="cosine: share of the learning rate left in the last round of the phase."
    )
    step_rounds: int = Field(default=10, ge=1, description="step: rounds between two reductions.")
    step_factor: float = Field(default=0.5, gt=0, lt=1, description="step: factor of a reduction.")
    plateau_patience: int | None = Field(
        default=None,
        ge=1,
        description="Rounds without a better selection metric before the learning rate is reduced; null: never.",
    )
    plateau_factor: float = Field(default=0.5, gt=0, lt=1, description="Factor of a reduction on plateau.")


DiseaseLoss = Literal["plain", "asymmetric", "balanced", "adjusted"]
CancerLoss = Literal["plain", "own"]


class LossConfig(Frozen):
    """Weights of the two tasks and of positive findings."""

    disease: DiseaseLoss = Field(
        default="plain",
        description="Loss of the findings in training; plain: binary cross-entropy; asymmetric: easy absent ones count "
        "less, the easiest nothing (Ridnik et al., ICCV 2021); balanced: present and absent ones by the inverse of "
        "their effective numbers at the hospital (Cui et al., CVPR 2019); adjusted: the hospital's own log-odds of "
        "each finding are added to the logits (Menon et al., ICLR 2021). Validation losses stay plain.",
    )
    cancer: CancerLoss = Field(
        default="plain",
        description="Loss of the CT classes in training; plain: categorical cross-entropy over all of them; own: over "
        "those that the hospital has slices of, so that it does not teach the others away (after Li and Zhan, KDD "
        "2021). For consortia whose hospitals have unlike classes. Validation losses stay plain.",
    )
    disease_weight: float = Field(default=1.0, ge=0, description="Weight of the masked binary cross-entropy.")
    cancer_weight: float = Field(
        default=1.0, ge=0, description="Weight of the masked sparse categorical cross-entropy."
    )
    positive_weights: dict[str, float] = Field(
        default={}, description="Weight of a positive label by finding; a finding not named has weight 1."
    )

    @model_validator(mode="after")
    def _positive(self) -> "LossConfig":
        if self.disease_weight == 0 and self.cancer_weight == 0:
            raise ValueError("disease_weight and cancer_weight must not both be 0")
        for finding, weight in self.positive_weights.items():
            if weight <= 0:
                raise ValueError(f"positive_weights.{finding} must be above 0, got {weight:g}")
        return self


class AugmentationConfig(Frozen):
    """Light changes suited to radiographs; none of them turns an image upside down."""

    enabled: bool = Field(default=True, description="Whether training images are changed at all.")
    feature_versions: int = Field(
        default=0,
        ge=0,
        description="Changed versions of each image whose pooled features are computed once for the phases that train "
        "the heads, beside those of the image as it is; 0: the heads see images as they are.",
    )
    rotation_degrees: float = Field(default=7.0, ge=0, le=45, description="Largest rotation to either side.")
    translation: float = Field(default=0.05, ge=0, le=0.5, description="Largest shift, as a share of the side.")
    zoom: float = Field(default=0.05, ge=0, le=0.5, description="Largest change of scale.")
    brightness: float = Field(default=0.1, ge=0, le=0.5, description="Largest shift of grey, as a share of 255.")
    contrast: float = Field(default=0.1, ge=0, le=0.9, description="Largest relative change of contrast.")
    ct_flip: bool = Field(default=False, description="Mirror CT slices left to right at random (never X-rays).")


class TrainingConfig(Frozen):
    """How a hospital trains in a round."""

    phases: tuple[PhaseConfig, ...] = Field(
        min_length=1, strict=False, description="What is trained for how many rounds, in this order."
    )
    batch_size: int = Field(default=16, ge=1, description="Pairs in a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's learning rate where a phase gives none.")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="Learning rate over the rounds.")
    clip_norm: float | None = Field(default=1.0, gt=0, description="Largest global gradient norm; null: no clipping.")
    weight_decay: float = Field(
        default=0.0, ge=0, description="Decoupled weight decay of dense and convolution kernels."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        description="Steps over which the learning rate of each task rises to its height: Adam begins anew in every "
        "round at every hospital, and its first steps are as long as the learning rate, whatever the gradients are.",
    )
    loss: LossConfig = Field(default=LossConfig(), description="The two losses.")
    modality_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the pairs in which one of the two images, X-ray or CT at random, is left out with its "
        "labels, so that the token for it is learned; needs model.absent: token.",
    )
    local_patience: int | None = Field(
        default=None,
        ge=1,
        description="Local epochs without a lower loss on the hospital's validation split before it stops and "
        "returns to its best epoch; null: never.",
    )
    augmentation: AugmentationConfig = Field(default=AugmentationConfig(), description="Changes to training images.")
    precision: Literal["float32", "mixed_float16", "bfloat16"] = Field(
        default="float32",
        description="How the encoders calculate on an accelerator where everything is trained; weights, heads, losses "
        "and scores stay float32. A processor always calculates in float32.",
    )
    jit_compile: bool = Field(
        default=False,
        description="Whether XLA compiles the training step on an accelerator, which takes minutes; a processor does "
        "without.",
    )
    threads: int | None = Field(
        default=None, ge=1, description="Processor threads of TensorFlow; null: the cores this process may use."
    )

    @property
    def num_rounds(self) -> int:
        return sum(phase.rounds for phase in self.phases)
