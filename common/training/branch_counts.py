"""How much of a hospital's data stands behind each part of its update."""

from typing import Any

import numpy as np

from fedthorax.common.hospital.images import SplitImages
from fedthorax.common.training.fit import FitReport


def branch_counts(train: SplitImages, fitted: FitReport) -> dict[str, Any]:
    """``xray`` and ``ct``: images; ``fusion``: pairs; ``xray_token`` and ``ct_token``: pairs with the token for
    an image; ``findings``: known labels of each finding; ``cancer``: slices of known class. Empty without training."""
    if not fitted.pairs:
        return {}
    return {
        "xray": len(train.xray),
        "ct": len(train.ct),
        "fusion": fitted.pairs,
        "xray_token": fitted.without_xray,
        "ct_token": fitted.without_ct,
        "findings": [int(known) for known in np.sum(~np.isnan(train.xray.targets), axis=0)],
        "cancer": int(np.sum(train.ct.targets >= 0)),
    }
