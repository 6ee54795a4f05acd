"""Scoring and selection."""

from typing import Literal

from pydantic import Field

from fedthorax.common.config.frozen import Frozen

SelectionMetric = Literal["mean_roc_auc", "disease_roc_auc", "cancer_roc_auc", "loss"]


class EvaluationConfig(Frozen):
    """How models are scored and which one is kept as the best."""

    selection_metric: SelectionMetric = Field(
        default="mean_roc_auc",
        description="Central validation figure that picks the best round; mean_roc_auc: mean of both tasks' macro "
        "ROC-AUC; loss: weighted sum of both losses (lower is better).",
    )
    batch_size: int = Field(default=32, ge=1, description="Pairs scored at once.")
    partners: int = Field(
        default=8,
        ge=1,
        description="Random partners that each image is scored with; its probabilities are the mean over them.",
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="Probability from which a finding counts as predicted present."
    )
    bootstrap_samples: int = Field(
        default=1000, ge=0, description="Resamplings by patient for the 95 % intervals of the test scores; 0: none."
    )
