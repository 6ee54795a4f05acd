"""The real folders, flaws included: modes, sizes, wrong endings, missing annotations, copies across splits."""

from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config.data import DataConfig, SourceConfig
from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.data.images import SiteImages
from fedthorax.common.data.layouts import NIH_FINDINGS
from fedthorax.common.data.overlap import shared_images
from fedthorax.common.data.site import load_site

pytestmark = pytest.mark.real_data

CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")


def load(real_data: Path, xray: str, ct: Path, findings: tuple[str, ...]) -> SiteImages:
    source = SourceConfig(xray=real_data / xray, ct=ct)
    data = DataConfig(hospitals={"north": source}, central=source)
    labels = LabelsConfig(findings=findings, cancer_classes=CLASSES)
    return load_site("north", source, labels, data, data.splits, image_size=32, seed=0)


def test_every_ct_slice_is_read_and_the_copies_across_splits_are_found(real_data: Path) -> None:
    site = load(real_data, "hannover-224", real_data / "ct-kaggle", ("COVID-19", "Pneumonia"))
    train, valid, test = (site.splits[split].ct for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (613, 72, 259)
    assert len(shared_images(test, train.digests)) == 46
    assert len(shared_images(valid, train.digests)) == 10
    assert "46 of 259 CT slices in test have the same pixels as one in train" in site.notes


def test_a_hospital_that_did_not_look_for_a_finding_does_not_call_it_absent(real_data: Path, tmp_path: Path) -> None:
    site = load(real_data, "hannover-224", tmp_path, ("Pneumonia", "Edema", "COVID-19"))
    for split in site.splits.values():
        assert np.isnan(split.xray.targets[:, 1]).all()
        # Few X-rays lack the disease here; stratification gives every split some.
        assert set(np.unique(split.xray.targets[:, 0])) == {0, 1}
    patients = [set(split.xray.patients) for split in site.splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 46


def test_both_label_forms_of_the_nih_collection_are_read_whole(real_data: Path, tmp_path: Path) -> None:
    findings = tuple(sorted(NIH_FINDINGS))
    plain = load(real_data, "nih-224", tmp_path, findings)
    assert sum(len(split.xray) for split in plain.splits.values()) == 500
    for split in plain.splits.values():
        assert (split.xray.targets.sum(axis=0) > 0).all(), "every finding stands in every split"
    nih = load(real_data, "nih-1024", tmp_path, findings)
    assert sum(len(split.xray) for split in nih.splits.values()) == 64
    assert not np.isnan(nih.splits["train"].xray.targets).any()
