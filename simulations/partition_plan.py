"""What is split between hospitals, and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedthorax.simulations.partition_input import LabelFile
from fedthorax.simulations.partition_output import Link
from fedthorax.simulations.site_limits import SiteLimits

_BY_HEADER = LabelFile()
_NO_LIMITS = SiteLimits()


@dataclass(frozen=True)
class PartitionPlan:
    """What is split, and how. At least one of ``xray`` and ``ct`` is needed.

    ``label_file`` says how the X-rays' labels are to be read, where that is not seen in their header.
    ``ct_labels`` is the table of the CT slices, where it is not ``slices.csv`` in or above their folder; the YAML file
    ``ct_mapping`` says which of its columns is what, and what its classes, or the folders, are called here.
    ``test_list`` and ``train_list`` are a collection's own split, a file name a line: X-rays of the one are the central
    test, those of the other go to the hospitals (and to ``holdout_valid``), those in neither go nowhere.
    ``hospitals``: names, or how many; None means 3, or as many as ``column`` has values. At most one rule: ``sizes``
    are ratios of patients, one a hospital; ``size_alpha`` draws them; ``alpha`` skews the labels (Dirichlet);
    ``column`` is one of the X-ray CSV, and with ``column_most`` a patient with several values goes where most of the
    images are. Without any all get alike. ``limits``: modalities that a hospital is to lack, whose patients go to the
    others, and the findings that it annotates.
    ``holdout_valid`` and ``holdout_test`` are shares of the patients for the central folder. If ``ct_valid`` or
    ``ct_test`` is given, its CT slices come from these folders, beside those of X-ray patients held out.
    """

    out: Path
    xray: Path | None = None
    xray_labels: Path | None = None
    label_file: LabelFile = _BY_HEADER
    ct: Path | None = None
    ct_labels: Path | None = None
    ct_mapping: Path | None = None
    hospitals: int | Sequence[str] | None = None
    sizes: Sequence[float] | None = None
    alpha: float | None = None
    column: str | None = None
    column_most: bool = False
    size_alpha: float | None = None
    limits: SiteLimits = _NO_LIMITS
    seed: int = 0
    holdout_valid: float = 0.0
    holdout_test: float = 0.0
    ct_valid: Path | None = None
    ct_test: Path | None = None
    train_list: Path | None = None
    test_list: Path | None = None
    link: Link = "copy"

    def __post_init__(self) -> None:
        if self.xray is None and self.ct is None:
            raise ValueError("there is nothing to split: name an X-ray folder, a CT folder, or both")
        rules = [name for name in ("sizes", "size_alpha", "alpha", "column") if getattr(self, name) is not None]
        if len(rules) > 1:
            raise ValueError(f"{' and '.join(rules)} are rules of their own; leave one out")
        if self.column is not None and self.xray is None:
            raise ValueError("a column needs an X-ray folder: CT folders have no label file with columns")
        if self.sizes is not None and (not self.sizes or min(self.sizes) <= 0 or not np.all(np.isfinite(self.sizes))):
            raise ValueError(f"sizes must be ratios above 0, one a hospital, got {list(self.sizes)}")
        for key, alpha in (("alpha", self.alpha), ("size_alpha", self.size_alpha)):
            if alpha is not None and not 0 < alpha < np.inf:
                raise ValueError(f"{key} must be above 0, got {alpha:g}")
        if self.column_most and self.column is None:
            raise ValueError("column_most belongs to column; leave it out")
        if min(self.holdout_valid, self.holdout_test) < 0 or not self.holdout_valid + self.holdout_test < 1:
            raise ValueError(
                "holdout_valid and holdout_test are shares that must not be negative and sum to less than 1, got "
                f"{self.holdout_valid:g} and {self.holdout_test:g}"
            )
        if self.holdout_valid + self.holdout_test > 0 and self.xray is None and (self.ct_valid or self.ct_test):
            raise ValueError(
                "ct_valid and ct_test are the central CT slices, and holdout_valid and holdout_test shares of X-ray "
                "patients then; name an X-ray folder"
            )
        if (self.train_list or self.test_list) and self.xray is None:
            raise ValueError("train_list and test_list name X-rays; name their folder")
        if self.test_list and self.holdout_test:
            raise ValueError("test_list says which images are the central test; leave holdout_test out")
