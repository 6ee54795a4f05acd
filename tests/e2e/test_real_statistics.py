"""Two real hospitals are asked, as docs/statistics.md shows; no process of Flower's is needed for the counting."""

from pathlib import Path

import pytest

from fedthorax.client.statistics import site_statistics
from fedthorax.common.config.load import load_experiment
from fedthorax.common.disclosure.duplicates import new_key
from fedthorax.common.hospital.site import load_hospital
from fedthorax.server.statistics import gather_statistics

pytestmark = pytest.mark.real_data

ACCEPTED = "duplicate-across-splits, duplicate-different-labels, patient-across-splits"  # as the site worker does


def test_two_real_hospitals_are_told_apart_and_share_slices(real_data: Path, tmp_path: Path) -> None:
    folders = [
        f"data.hospitals.{name}.{kind}={{folder: {real_data / folder}}}"
        for name, kind, folder in (
            ("nih", "xray", "nih-224"),
            ("nih", "ct", "ct-kaggle/train"),
            ("hannover", "xray", "hannover-224"),
            ("hannover", "ct", "ct-kaggle/test"),
        )
    ]
    config = Path(__file__).parents[2] / "configs" / "statistics.yaml"
    experiment = load_experiment(config, [*folders, "model.image_size=64", f"data.accept=[{ACCEPTED}]"])
    key = new_key(tmp_path / "key")
    told = {}
    for name in experiment.data.hospitals:
        site = load_hospital(experiment, name)
        statistics = site_statistics(
            site, experiment.labels, experiment.data.privacy, experiment.seed, b"query", duplicate_key=key
        )
        told[name] = statistics.model_dump(mode="json")
    document = gather_statistics(experiment, tuple(told), told).document()
    assert document["failures"] == []
    assert document["sites"]["nih"]["findings"]["Hernia"]["cells"] == {"present": 15, "absent": 485, "unknown": 0}
    assert document["sites"]["hannover"]["findings"]["Hernia"]["cells"] == {"present": 0, "absent": 0, "unknown": 90}
    assert document["distances"]["findings"]["pairs"][0]["over"] == ["Pneumonia"]
    (grey,) = document["distances"]["xray_intensity"]["pairs"]
    assert grey["distance"] > 2 * max(document["distances"]["xray_intensity"]["within_sites"].values())
    (pair,) = document["duplicates"]["pairs"]
    assert (pair["xray"], pair["xray_alike"], pair["ct"]) == (0, 0, 19)
    assert pair["ct_alike"] > 0
