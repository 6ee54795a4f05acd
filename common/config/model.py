"""The network: twin encoders, feature-level fusion, two heads."""

from typing import Literal

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen

RECEIVED = "received"  # model.weights of a hospital that gets them from the server


class ModelConfig(Frozen):
    """The defaults are the architecture of the project; every width can be changed."""

    backbone: str = Field(
        default="EfficientNetB0",
        description="Name of a two-dimensional family in keras.applications, for both encoders.",
    )
    image_size: int = Field(default=224, ge=32, le=1024, description="Side of the square input, in pixels.")
    weights: str = Field(
        default="imagenet",
        description="imagenet: the checkpoint from the local weights folder, never downloaded; none: random; "
        "received: as none, but the server's weights follow (written for hospitals, not by hand); "
        "or the path of a weights file.",
    )
    encoder_units: int = Field(default=1024, ge=1, description="Width of the dense layer after the pooled features.")
    feature_units: int = Field(default=512, ge=1, description="Features of one modality that enter the fusion.")
    fusion_units: tuple[int, ...] = Field(
        default=(1024, 512),
        strict=False,
        description="Widths of the dense layers after concatenation; none: nothing is fused, findings are linear in "
        "the features of the X-ray and classes in those of CT.",
    )
    projection: Literal["learned", "fixed"] = Field(
        default="learned",
        description="From pooled features to those of a modality: learned: two dense layers; fixed: the feature_units "
        "directions in which the server's own images differ most, each of variance 1, set before round 1 and never "
        "trained, for heads of few values.",
    )
    head_norm: Literal["batch", "layer", "none"] = Field(
        default="batch", description="Normalisation between the two dense layers of a learned projection."
    )
    dropout: float = Field(default=0.3, ge=0, lt=1, description="Dropout rate in the encoders.")
    batch_norm: Literal["frozen", "train"] = Field(
        default="frozen",
        description="Batch normalisation of the backbones: frozen keeps the statistics and scales they came with; "
        "train learns them.",
    )
    absent: Literal["refused", "token"] = Field(
        default="refused",
        description="What stands for a modality that is not there: refused: nothing, every hospital and every patient "
        "has both; token: learned numbers in place of its features, so that a hospital may lack X-rays or CT and the "
        "model answers for either alone.",
    )
    batch_norm_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Momentum of all moving statistics; low, because a round has few steps."
    )
