"""What a hospital has to tell once it has done a task: one model for each kind."""

from typing import Annotated

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.messages.fields import Count, Mark, Positive
from fedthorax.common.messages.passport import Passport
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.scores import BothHeads, Histograms, Scores, Subgroups, TestedScores


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

    loss: Annotated[float, Field(ge=0)] | None
    disease_loss: Annotated[float, Field(ge=0)] | None
    cancer_loss: Annotated[float, Field(ge=0)] | None
    pairs: Count
    steps: Count
    epochs: Count
    seconds: Positive
    without_xray: Count = 0  # pairs of the last epoch in which a token stood for the X-ray
    without_ct: Count = 0


class UpdateTold(Frozen):
    """``valid`` are scores of the incoming weights; ``train.pairs`` weighs the update, ``counts`` its parts."""

    valid: Scores
    train: FitTold
    counts: BranchCounts | None = None
    peak_memory_mb: Positive | None = None
    residual_lost: bool = False  # what rounding left out of earlier updates is no longer here


class Evaluated(Frozen):
    """Scores of the incoming weights by split, and of the test split all of ``hospital_tests``."""

    train: Scores | None = None
    valid: Scores | None = None
    test: TestedScores | None = None
    test_with_duplicates: BothHeads | None = None
    test_at_own_thresholds: TestedScores | None = None
    operating_points: OperatingPoints | None = None
    subgroups: Subgroups | None = None
    histograms: Histograms | None = None


class Told(Frozen):
    statistics: SiteStatistics
