"""What a hospital has to tell once it has done a task: one model for each kind."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.strict_json import plain_value
from fedthorax.common.messages.fields import Count, Mark, Name, Positive
from fedthorax.common.messages.passport import Passport
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.metrics.operating import OperatingPoints

Figures = Annotated[dict[str, Any], BeforeValidator(plain_value)]


class Described(Frozen):
    """``overlap`` are positions in ``test_digests`` of images that are held here too."""

    data: Passport
    overlap: Annotated[tuple[Count, ...], Field(max_length=500_000)]
    fingerprint: Mark
    statistics: SiteStatistics
    software_version: Mark


class BranchCounts(Frozen):
    """What stands behind each part of an update: ``xray`` and ``ct`` images, ``fusion`` pairs, ``xray_token`` and
    ``ct_token`` pairs with the token for an image, ``findings`` known labels of each, ``cancer`` slices of known
    class."""

    xray: Count
    ct: Count
    fusion: Count
    xray_token: Count
    ct_token: Count
    findings: Annotated[tuple[Count, ...], Field(max_length=1000)]
    cancer: Count


class FitTold(Frozen):
    """What training did. Losses are means over the last epoch that was run, null where no label was known."""

    loss: float | None
    disease_loss: float | None
    cancer_loss: float | None
    pairs: Count
    steps: Count
    epochs: Count
    seconds: Positive
    without_xray: Count = 0  # pairs of the last epoch in which a token stood for the X-ray
    without_ct: Count = 0


class UpdateTold(Frozen):
    """``valid`` are scores of the incoming weights; ``train.pairs`` weighs the update, ``counts`` its parts."""

    valid: Figures | None
    train: FitTold
    counts: BranchCounts | None = None
    peak_memory_mb: Positive | None = None
    residual_lost: bool = False  # what rounding left out of earlier updates is no longer here


class Evaluated(Frozen):
    """Scores of the incoming weights by split, and of the test split all of ``hospital_tests``."""

    train: Figures | None = None
    valid: Figures | None = None
    test: Figures | None = None
    test_with_duplicates: Figures | None = None
    test_at_own_thresholds: Figures | None = None
    operating_points: OperatingPoints | None = None
    subgroups: Figures | None = None
    histograms: Figures | None = None


class Personalised(Frozen):
    """The weights stay at the hospital."""

    kept: Name | None
    reason: Name | None
    valid_loss: Annotated[dict[Name, float | None], Field(max_length=10)]
    epochs: Annotated[dict[Name, Count], Field(max_length=10)]
    common: Figures | None
    own: Figures | None
    comparison: Figures | None


class Told(Frozen):
    statistics: SiteStatistics
