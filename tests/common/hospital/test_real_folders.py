"""The real folders, flaws included: modes, sizes, wrong endings, missing annotations, copies across splits."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CtSource, SourceConfig, XraySource
from fedthorax.common.config.label_mapping import LabelMapping, LabelsConfig, SliceMapping
from fedthorax.common.hospital.ct_folder import ct_records
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.hospital.overlap import shared_images
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.records.attributes import age_band
from fedthorax.common.records.layouts import NIH_FINDINGS
from fedthorax.common.records.xray_folder import xray_records
from fedthorax.common.training.branch_counts import branch_counts
from fedthorax.common.training.fit import FitReport

pytestmark = pytest.mark.real_data

COPIES = ("duplicate-across-splits", "duplicate-different-labels")
CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")


def test_hannover_beside_nih_counts_only_what_it_annotates(
    real_data: Path, one_hospital: Callable[..., Experiment]
) -> None:
    """X-rays alone, 14 findings of the consortium: what is averaged of it is the X-ray encoder and a unit of a head."""
    source = SourceConfig(xray=real_data / "hannover-224")
    labels = LabelsConfig(findings=NIH_FINDINGS, cancer_classes=CLASSES)
    site = load_hospital(one_hospital(source, labels, "hannover"), "hannover")
    train = site.splits["train"]
    counts = branch_counts(train, FitReport(None, None, None, len(train.xray), 1, 1, 0.0, 0, len(train.xray)))
    assert site.modalities == ("xray",)
    assert {name for name, known in zip(NIH_FINDINGS, counts["findings"], strict=True) if known} == {"Pneumonia"}
    assert counts["xray"] == counts["ct_token"] == len(train.xray) > 50
    assert counts["ct"] == counts["cancer"] == counts["xray_token"] == 0


Load = Callable[..., SiteImages]


@pytest.fixture
def load(one_hospital: Callable[..., Experiment]) -> Load:
    def read(real_data: Path, xray: str, ct: Path, findings: tuple[str, ...], **data: Any) -> SiteImages:
        source = SourceConfig(xray=real_data / xray, ct=ct)
        labels = LabelsConfig(findings=findings, cancer_classes=CLASSES)
        return load_hospital(one_hospital(source, labels, **data), "north")

    return read


def test_every_ct_slice_is_read_and_the_copies_across_splits_are_found(real_data: Path, load: Load) -> None:
    site = load(real_data, "hannover-224", real_data / "ct-kaggle", ("COVID-19", "Pneumonia"), accept=COPIES)
    train, valid, test = (site.splits[split].ct for split in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (613, 72, 259)
    assert len(shared_images(test, train.digests)) == 46
    assert len(shared_images(valid, train.digests)) == 10
    (torn,) = [issue for issue in site.issues if issue.code == "duplicate-across-splits"]
    assert "46 CT slices in test: same pixels as one in train" in torn.sentence


def test_a_hospital_that_did_not_look_for_a_finding_does_not_call_it_absent(
    real_data: Path, tmp_path: Path, load: Load
) -> None:
    site = load(real_data, "hannover-224", tmp_path, ("Pneumonia", "Edema", "COVID-19"))
    for split in site.splits.values():
        assert np.isnan(split.xray.targets[:, 1]).all()
        # Few X-rays lack the disease here; stratification gives every split some.
        assert set(np.unique(split.xray.targets[:, 0])) == {0, 1}
    patients = [set(split.xray.patients) for split in site.splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 46


def test_both_label_forms_of_the_nih_collection_are_read_whole(real_data: Path, tmp_path: Path, load: Load) -> None:
    findings = tuple(sorted(NIH_FINDINGS))
    plain = load(real_data, "nih-224", tmp_path, findings)
    assert sum(len(split.xray) for split in plain.splits.values()) == 500
    for split in plain.splits.values():
        assert (split.xray.targets.sum(axis=0) > 0).all(), "every finding stands in every split"
    nih = load(real_data, "nih-1024", tmp_path, findings)
    assert sum(len(split.xray) for split in nih.splits.values()) == 64
    assert not np.isnan(nih.splits["train"].xray.targets).any()


def test_attributes_of_every_set_are_read_from_its_own_columns(real_data: Path) -> None:
    def counts(name: str) -> dict[str, Counter[str | None]]:
        records = xray_records(XraySource(folder=real_data / name), ["Pneumonia"]).records
        ages = [record.attributes.age_years for record in records]
        return {
            "sex": Counter(record.attributes.sex for record in records),
            "view": Counter(record.attributes.view for record in records),
            "age": Counter(None if years is None else age_band(years) for years in ages),
        }

    nih = counts("nih-224")
    assert nih["sex"] == {"M": 264, "F": 236}
    assert nih["view"] == {"PA": 417, "AP": 83}
    assert None not in nih["age"]
    assert counts("nih-1024")["sex"] == {"M": 39, "F": 25}
    hannover = counts("hannover-224")
    assert hannover["sex"] == {"M": 61, "F": 31}
    assert hannover["view"] == {"PA": 47, "AP": 45}, "AP Supine is AP"
    assert hannover["age"] == {None: 92}


def test_a_finding_that_hannover_calls_otherwise_is_asked_about(real_data: Path) -> None:
    source = XraySource(folder=real_data / "hannover-224")
    with pytest.raises(ValueError, match=r"`COVID-19`: did you mean `COVID`\? If so"):
        xray_records(source, ["COVID"])
    mapping = LabelMapping(names={"COVID-19": "COVID"})
    found = xray_records(source.model_copy(update={"mapping": mapping}), ["COVID"])
    assert Counter(record.findings for record in found.records) == {(1.0,): 84, (0.0,): 8}


def test_ct_slices_of_nobody_are_each_their_own_patient_and_it_is_said(real_data: Path) -> None:
    found = ct_records(CtSource(folder=real_data / "ct-kaggle"), CLASSES)
    assert len({record.patient for record in found.records}) == len(found.records) == 944
    assert found.notes[0].startswith("no patient is known for 944 of 944 CT slices")


def test_the_headers_of_real_dicom_files_tell_patients_and_scanners(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dicom/cr_chest"
    files = sorted(path.name for path in folder.glob("*.dcm"))
    labels = tmp_path / "labels.csv"
    labels.write_text("file,Pneumonia\n" + "".join(f"{name},\n" for name in files), encoding="utf-8")
    found = xray_records(XraySource(folder=folder, labels=labels), ["Pneumonia"])
    patients = {record.path.name: record.patient for record in found.records}
    assert {patients[name] for name in files if name.startswith("RG1_")} == {"9RG1"}
    scanners = {record.path.name: record.attributes.scanner for record in found.records}
    assert all((scanners[name] or "").startswith("Philips") for name in files if name.startswith("RG1_"))


def test_the_classes_of_a_real_table_are_read_with_patients_and_scanners(real_data: Path) -> None:
    folder = real_data / "lidc-ct-128"
    mapping = SliceMapping(scanner=("slice_thickness_mm",))
    source = CtSource(folder=folder, labels=folder / "labels.csv", mapping=mapping, classes={"indeterminate": None})
    found = ct_records(source, ("benign", "malignant"))
    assert Counter(record.cancer_class for record in found.records) == {0: 698, 1: 576, -1: 1580}
    assert len({record.patient for record in found.records}) == 504
    assert all(record.attributes.scanner for record in found.records)
    assert (found.bad, found.without_row) == ((), ())
