"""Prediction sees images as training saw them, whatever file they come in."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.records import ImageRef
from fedthorax.common.release import predict
from fedthorax.common.release.saved_model import SavedModel
from fedthorax.common.release.series_answers import series_of
from fedthorax.common.release.trial import asked_images

LABEL = LabelOperation(threshold=0.5, method="youden", positives=20, negatives=20)
POINTS = OperatingPoints(
    site="central", split="valid", disease={"Mass": LABEL}, cancer=dict.fromkeys(("normal", "tumour"), LABEL)
)
ENTRY = {
    "round": 2,
    "evaluation": {"disease": {"per_finding": {"Mass": {"support": 12}}}, "cancer": {"per_class": {}}},
}
FACTS = {
    "models": {"best.keras": ENTRY},
    "findings": ["Mass"],
    "cancer_classes": ["normal", "tumour"],
    "image_size": 4,
    "aspect": "squash",
    "threshold": 0.5,
    "ct_windows": [{"center": 0.0, "width": 2000.0}],
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, np.ndarray]]:
    """The batches that a model in place of the saved one is given; it says how bright the images are."""
    batches: list[Mapping[str, np.ndarray]] = []

    def model(inputs: Mapping[str, np.ndarray], training: bool) -> dict[str, np.ndarray]:
        assert not training
        batches.append(inputs)
        tumour = inputs["ct"].mean(axis=(1, 2, 3)) / 255
        return {
            "disease": inputs["xray"].mean(axis=(1, 2, 3), keepdims=False)[:, None] / 255,
            "cancer": np.stack([1 - tumour, tumour], axis=1),
        }

    saved = SavedModel(Path("best.keras"), model, FACTS, POINTS)
    monkeypatch.setattr(predict, "load_saved_model", lambda path, site=None: saved)
    return batches


def save_grey(path: Path, value: int) -> Path:
    Image.fromarray(np.full((6, 8), value, np.uint8)).save(path)
    return path


def save_volume(path: Path, units: np.ndarray) -> Path:
    nibabel.Nifti1Image(units, np.eye(4)).to_filename(path)
    return path


def test_one_x_ray_goes_with_each_slice_of_a_volume(tmp_path: Path, seen: list[Mapping[str, np.ndarray]]) -> None:
    xray = save_grey(tmp_path / "x.png", 204)
    units = np.repeat(np.repeat([[[-1000, 0, 500]]], 4, axis=0), 4, axis=1).astype(np.int16)
    volume = save_volume(tmp_path / "v.nii.gz", units)
    document = predict.predict_files(Path("run"), [xray], [ImageRef(volume, frame) for frame in range(3)])
    rows = document["predictions"]
    # In the one window that the model was trained on, -1000..1000.
    assert [row["cancer"]["tumour"] for row in rows] == pytest.approx([0, 128 / 255, 191 / 255], abs=1e-6)
    assert [row["disease"]["Mass"] for row in rows] == pytest.approx([0.8] * 3)
    assert [row["ct"] for row in rows] == [f"{volume} (slice {frame})" for frame in range(3)]
    assert rows[0]["predicted"] == {
        "findings": ["Mass"],
        "cancer_class": "normal",
        "cancer_above_threshold": ["normal"],
    }
    assert "Not a medical device" in document["notice"]
    mass = document["labels"]["disease"]["Mass"]
    assert (mass["threshold"], mass["calibrated"], mass["evaluation"]) == (0.5, False, {"support": 12})
    assert [batch["ct"].dtype for batch in seen] == [np.float32]
    (series,) = document["examinations"]
    assert (series["ct"], series["xray"], series["slices"]) == (str(volume), str(xray), 3)
    assert series["cancer"]["tumour"] == pytest.approx((0 + 128 + 191) / 3 / 255)
    assert series["disease"]["Mass"] == pytest.approx(0.8)
    assert series["predicted"]["cancer_class"] == "normal"
    assert series["predicted"]["cancer_above_threshold"] is None  # none was chosen for examinations
    assert series["speak_most"] == [f"{volume} (slice {frame})" for frame in range(3)]
    assert series["behind"] == pytest.approx({row["ct"]: row["cancer"]["normal"] for row in rows})
    assert document["tested_by_patient"] is None
    assert predict.predict_files(Path("run"), [xray], [ImageRef(volume, 1)])["examinations"] == []  # one slice is none


def test_pictures_that_nothing_binds_together_are_no_examination(
    tmp_path: Path, seen: list[Mapping[str, np.ndarray]]
) -> None:
    pictures = [save_grey(tmp_path / f"{number}.png", 100) for number in range(3)]
    assert predict.predict_files(Path("run"), pictures[:1], pictures[1:])["examinations"] == []
    (one,) = predict.predict_files(Path("run"), pictures[:1], pictures[1:], together=True)["examinations"]
    assert (one["ct"], one["slices"]) == (str(tmp_path), len(pictures) - 1)


def test_a_series_is_its_dicom_folder_or_a_part_of_it(tmp_path: Path, write_ct: Callable[..., Path]) -> None:
    for number, series in enumerate(("1.2.3", "1.2.3", "1.2.4"), start=1):
        write_ct(tmp_path / f"{number}.dcm", np.zeros((4, 4), np.int16), float(number), SeriesInstanceUID=series)
    refs = [ImageRef(tmp_path / name) for name in ("1.dcm", "2.dcm", "3.dcm")]
    whole = str(tmp_path)
    assert series_of([*refs, tmp_path / "x.png"]) == [whole, whole, f"{whole} (series 2)", None]
    assert series_of([tmp_path / "a.png", tmp_path / "x" / "a.png"], together=True) == [whole, f"{whole}/x"]


def test_a_file_of_another_modality_or_none_at_all_is_named(
    tmp_path: Path, seen: list[Mapping[str, np.ndarray]]
) -> None:
    xray = save_grey(tmp_path / "x.png", 9)
    volume = save_volume(tmp_path / "v.nii", np.full((2, 2, 1), -900, np.int16))
    with pytest.raises(ValueError, match=r"v\.nii: is a NIfTI volume, expected an X-ray"):
        predict.predict_files(Path("run"), [volume], [xray])
    (tmp_path / "e.png").touch()
    with pytest.raises(ValueError, match=r"e\.png: is empty \(0 bytes\)"):
        predict.predict_files(Path("run"), [xray], [tmp_path / "e.png"])
    assert not seen


def test_bad_files_are_named_and_the_others_answered_in_their_places(
    tmp_path: Path, seen: list[Mapping[str, np.ndarray]]
) -> None:
    xrays = [save_grey(tmp_path / f"x{number}.png", 51 * number) for number in range(4)]
    slices = [save_grey(tmp_path / f"c{number}.png", 51 * number) for number in range(4)]
    xrays[0].write_bytes(b"")
    slices[2].write_text("no picture")
    document = predict.predict_files(Path("run"), xrays, slices)
    assert [(row["xray"], row["ct"]) for row in document["predictions"]] == [
        (str(xrays[number]), str(slices[number])) for number in (1, 3)
    ]
    assert [row["disease"]["Mass"] for row in document["predictions"]] == pytest.approx([0.2, 0.6])
    assert [row["cancer"]["tumour"] for row in document["predictions"]] == pytest.approx([0.2, 0.6])
    first, second = document["skipped"]
    assert first == {"xray": str(xrays[0]), "ct": str(slices[0]), "reasons": [f"{xrays[0]}: is empty (0 bytes)"]}
    assert second["reasons"][0].startswith(f"{slices[2]}: ")


def test_where_no_pair_is_left_there_is_no_answer(tmp_path: Path, seen: list[Mapping[str, np.ndarray]]) -> None:
    empty, good = tmp_path / "e.png", [save_grey(tmp_path / f"c{number}.png", 9) for number in range(3)]
    empty.touch()
    with pytest.raises(ValueError, match=r"e\.png: is empty .*, and none of the other 2 can be answered"):
        predict.predict_files(Path("run"), [empty], good)


def test_probabilities_are_calibrated_before_the_threshold_answers(
    tmp_path: Path, seen: list[Mapping[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    xray, ct = save_grey(tmp_path / "x.png", 204), save_grey(tmp_path / "c.png", 51)
    saved = predict.load_saved_model(Path("run"))
    shy = LABEL.model_copy(update={"slope": 1.0, "intercept": -2.0})
    points = POINTS.model_copy(update={"disease": {"Mass": shy}, "cancer_temperature": 2.0})
    monkeypatch.setattr(predict, "load_saved_model", lambda path, site: replace(saved, points=points))
    row = predict.predict_files(Path("run"), [xray], [ct])["predictions"][0]
    # 0.8 is a logit of log 4; 0.2 and 0.8 at temperature 2 are in the ratio of their square roots, 1 to 2.
    assert row["disease"]["Mass"] == pytest.approx(1 / (1 + np.exp(2) / 4))
    assert row["predicted"]["findings"] == []
    assert row["cancer"]["tumour"] == pytest.approx(1 / 3, abs=1e-6)


def test_one_modality_alone_is_refused_with_the_reason(tmp_path: Path, seen: list[Mapping[str, np.ndarray]]) -> None:
    with pytest.raises(ValueError, match=r"no stand-in for a missing one, .*; give both, got 1 X-ray and 0 CT slices"):
        predict.predict_files(Path("run"), [save_grey(tmp_path / "x.png", 9)], [])
    assert not seen


def test_a_probability_is_the_mean_over_the_views_that_the_model_was_tested_with(
    tmp_path: Path, seen: list[Mapping[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    xray, ct = save_grey(tmp_path / "x.png", 100), save_grey(tmp_path / "c.png", 50)
    model = predict.load_saved_model(Path("run")).model
    facts = {**FACTS, "views": 3, "augmentation": {"brightness": 0.1, "contrast": 0.0, "rotation_degrees": 0.0}}
    saved = SavedModel(Path("best.keras"), model, facts, POINTS)
    monkeypatch.setattr(predict, "load_saved_model", lambda path, site=None: saved)
    first, again = (predict.predict_files(Path("run"), [xray], [ct])["predictions"][0] for _ in range(2))
    views = seen[:3]
    assert len(seen) == 6
    assert views[0]["xray"].mean() == pytest.approx(100)  # as it is
    assert len({float(view["xray"].mean()) for view in views}) == 3
    assert first["disease"]["Mass"] == pytest.approx(np.mean([view["xray"].mean() for view in views]) / 255, abs=1e-6)
    assert first["cancer"]["tumour"] == pytest.approx(np.mean([view["ct"].mean() for view in views]) / 255, abs=1e-6)
    assert first == again


@pytest.mark.parametrize("modality", ["xray", "ct"])
def test_a_link_that_leads_nowhere_is_asked_for_so_that_it_is_named(tmp_path: Path, modality: Modality) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "IM1").symlink_to(tmp_path / "gone")
    found, _ = asked_images([tmp_path], modality)
    assert {ref.path.name for ref in found} == {"x.png", "IM1"}
