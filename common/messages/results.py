"""What a hospital has to tell once it has done a task: one model for each kind."""

from typing import Annotated

from pydantic import Field

from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Behind, Checked, Count, Done, Positive, Weight
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.masking.keys import RunKey
from fedthorax.common.messages.masking import MaskedTold
from fedthorax.common.messages.statistics import SiteStatistics
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.scores import BothHeads, Histograms, Scores, Subgroups, TestedScores
from fedthorax.common.record.passport import Passport
from fedthorax.common.record.run import FitTold


class Described(Frozen):
    """``overlap`` are positions in ``test_digests`` of images that are held here too."""

    data: Passport
    overlap: Annotated[
        tuple[Count, ...], Field(max_length=500_000), leaving.Machine("which of the lead's test images are here too")
    ]
    fingerprint: Checked
    statistics: SiteStatistics
    software_version: Checked
    run_key: RunKey | None = None  # under masks (federation.secure_aggregation)


class Decided(Frozen):
    """Whether a person has agreed or refused, or nobody is waited for any more: then the task may be sent again."""

    decided: Annotated[bool, leaving.Code()]


class BranchCounts(Frozen):
    """What stands behind each part of an update: ``xray`` and ``ct`` images, ``fusion`` pairs, ``xray_token`` and
    ``ct_token`` pairs with the token for an image, ``findings`` known labels of each, ``cancer`` slices of known
    class."""

    xray: Weight
    ct: Weight
    fusion: Weight
    xray_token: Weight
    ct_token: Weight
    findings: Annotated[tuple[Weight, ...], Field(max_length=1000)]
    cancer: Weight


class UpdateTold(Frozen):
    """``valid`` are scores of the incoming weights; ``train.pairs`` weighs the update, ``counts`` its parts. Under
    masks there is ``masked`` in place of both, and nothing where the hospital had no pair. ``labelled_xray`` and
    ``labelled_ct`` are the training images with a known label; they stay at the hospital."""

    valid: Scores
    train: FitTold | None
    masked: MaskedTold | None = None
    counts: BranchCounts | None = None
    labelled_xray: Behind = None
    labelled_ct: Behind = None
    peak_memory_mb: Annotated[Positive | None, leaving.Machine("memory")] = None
    residual_lost: Annotated[bool, leaving.Code()] = (
        False  # what rounding left out of earlier updates is no longer here
    )
    private_steps: Done | None = None  # of the run so far, of which the newest may not have been averaged


class Evaluated(Frozen):
    """Scores of the incoming weights by split, of the test split all of ``hospital_tests``, and how the validation
    images are scored, where thresholds are to be chosen from them."""

    train: Scores | None = None
    valid: Scores | None = None
    test: TestedScores | None = None
    test_with_duplicates: BothHeads | None = None
    test_at_own_thresholds: TestedScores | None = None
    operating_points: OperatingPoints | None = None
    subgroups: Subgroups | None = None
    histograms: Histograms | None = None
    valid_histograms: Histograms | None = None


class Told(Frozen):
    statistics: SiteStatistics
