"""Scoring and selection."""

from typing import Literal

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen

SelectionMetric = Literal["mean_roc_auc", "disease_roc_auc", "cancer_roc_auc", "loss", "last"]
SelectionWeights = Literal["equal", "certainty"]

ExaminationRule = Literal["mean", "highest"]


class EvaluationConfig(Frozen):
    """How models are scored and which one is kept as the best."""

    selection_metric: SelectionMetric = Field(
        default="mean_roc_auc",
        description="Central validation figure that picks the best round; mean_roc_auc: mean of both tasks' macro "
        "ROC-AUC; loss: weighted sum of both losses (lower is better); last: none, the model of the last round is "
        "taken, as few images choose among rounds by chance, and a rate that falls to the end needs no choice.",
    )
    selection_weights: SelectionWeights = Field(
        default="equal",
        description="What a finding or class counts for in that mean; equal: all alike, so that one with two positives "
        "moves it by chance; certainty: by the inverse of the variance that an area of so many positives and negatives "
        "has. Reported means stay plain.",
    )
    batch_size: int = Field(default=32, ge=1, description="Pairs scored at once.")
    partners: int = Field(
        default=8,
        ge=1,
        description="Random partners that each image is scored with during the rounds; its probabilities are the mean "
        "over them. Calibration, thresholds and all tests are of single pairs, which is what fedthorax predict sees.",
    )
    views: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Views of each image that its probabilities are the mean over, in the tests, for calibration and "
        "thresholds, and in fedthorax predict: the first is the image as it is, the others are changed as "
        "training.augmentation says, always in the same way. Costs as many passes through the network.",
    )
    threshold: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="Probability from which a finding counts as predicted present during the rounds, and afterwards "
        "with operating_point fixed or where no label is known.",
    )
    operating_point: Literal["youden", "f1", "sensitivity", "fixed"] = Field(
        default="youden",
        description="How the selected model's thresholds are chosen, label by label, on the validation images of the "
        "centre and the hospitals; "
        "youden: largest sensitivity + specificity; f1: largest F1; sensitivity: the highest threshold that reaches "
        "evaluation.sensitivity; fixed: threshold for all.",
    )
    sensitivity: float = Field(
        default=0.9, gt=0, le=1, description="Share of positives to be found, for operating_point sensitivity."
    )
    calibration: Literal["platt", "temperature", "none"] = Field(
        default="platt",
        description="How the selected model's probabilities are calibrated on these images; platt: "
        "slope and intercept of each finding's logit; temperature: slope only. CT classes share one temperature in "
        "both, of the centre's slices.",
    )
    calibration_bins: int = Field(
        default=10, ge=2, le=100, description="Equally wide bins of probability for the calibration error."
    )
    histogram_bins: int = Field(
        default=100,
        ge=2,
        le=10_000,
        description="Bins in which hospitals count the scores of their test images, for the figures of all of them "
        "together; how much the bins blur these stands beside them.",
    )
    examination: ExaminationRule = Field(
        default="mean",
        description="How the CT slices of a patient answer together; mean: of their probabilities; highest: each class "
        "as the slice says that says it most, made to sum to 1.",
    )
    examples: int = Field(
        default=6,
        ge=0,
        le=24,
        description="Central test images, right and wrong answers alike, that the run folder keeps and the report "
        "shows with Grad-CAM; 0: no image. They are the server's own, and in a consortium never a hospital's.",
    )
    bootstrap_samples: int = Field(
        default=1000, ge=0, description="Resamplings by patient for the 95 % intervals of the test scores; 0: none."
    )
