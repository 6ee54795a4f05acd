"""An exported model answers as ``fedthorax predict`` does, or is not kept."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.records.records import ImageRef
from fedthorax.common.release import export
from fedthorax.common.release.saved_model import SavedModel

LABEL = LabelOperation(threshold=0.3, method="youden", slope=1.7, intercept=-0.4, positives=20, negatives=20)

# The converters' own libraries warn about each other's future.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def saved(tmp_path: Path, fresh, monkeypatch: pytest.MonkeyPatch) -> SavedModel:
    labels = fresh.experiment.labels
    points = OperatingPoints(
        site="central",
        split="valid",
        disease=dict.fromkeys(labels.findings, LABEL),
        cancer=dict.fromkeys(labels.cancer_classes, LABEL),
        cancer_temperature=1.5,
    )
    facts = {
        "image_size": fresh.experiment.model.image_size,
        "aspect": "squash",
        "models": {"best.keras": {"round": 1}},
    }
    (tmp_path / "card.md").write_text("# Card")
    model = SavedModel(tmp_path / "best.keras", fresh.model, facts, points)
    monkeypatch.setattr(export, "load_saved_model", lambda path: model)
    return model


@pytest.mark.ci
@pytest.mark.parametrize(
    ("target", "file"), [("onnx", "model.onnx"), ("savedmodel", "savedmodel"), ("tflite", "model.tflite")]
)
def test_an_exported_model_answers_alike_with_calibration_inside(saved, tmp_path: Path, target, file) -> None:
    result = export.export_model(tmp_path, target, tmp_path / "out")
    assert result["max_difference"] < 1e-4
    assert "4 pairs of drawn noise" in result["checked_on"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {file, "model.json", "card.md"}
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    assert facts["exported"]["to"] == target
    assert facts["models"] == {"best.keras": {"round": 1}}


def test_tflite_writes_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = keras.Input((2, 2, 3), name="xray")
    pooled = keras.layers.GlobalAveragePooling2D()(images)
    network = keras.Model({"xray": images}, {"disease": keras.layers.Dense(2)(pooled)})  # dense: of the delegate's kind
    batch = {"xray": np.full((1, 2, 2, 3), 5, np.float32)}
    network(batch)
    assert export._to_tflite(network, tmp_path)(batch)["disease"].shape == (1, 2)
    assert capfd.readouterr().err == ""


def test_a_normalisation_of_the_network_is_inside_the_onnx_file_and_no_further_input(tmp_path: Path) -> None:
    """As EfficientNet has one: without it the numbers would be wanted from whoever runs the file."""
    images = keras.Input((2, 2, 3), name="xray")
    normalised = keras.layers.Normalization(mean=(1.0, 2.0, 3.0), variance=(4.0, 9.0, 16.0))(images)
    network = keras.Model({"xray": images}, {"disease": keras.layers.GlobalAveragePooling2D()(normalised)})
    batch = {"xray": np.full((1, 2, 2, 3), 5, np.float32)}
    network(batch)
    answer = export._to_onnx(network, tmp_path)(batch)["disease"]
    assert answer.tolist() == [pytest.approx([2.0, 1.0, 0.5])]


def test_a_model_that_answers_otherwise_is_not_kept(saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network, folder):
        return lambda batch: {head: np.asarray(value) + 0.01 for head, value in network(dict(batch)).items()}

    monkeypatch.setattr(export, "_WRITERS", {"savedmodel": wrong})
    with pytest.raises(RuntimeError, match=r"differs from .* by up to 0\.01 in a probability .*; it was not kept"):
        export.export_model(tmp_path, "savedmodel", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["card.md"]


def test_a_converter_that_is_not_installed_is_one_line_and_nothing_is_kept(
    saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(RuntimeError, match=r"needs tf2onnx and onnxruntime: pip install 'fed-thorax\[export\]'"):
        export.export_model(tmp_path, "onnx", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["card.md"]


def test_images_of_one_kind_are_refused_by_a_model_of_pairs_and_not_ignored(saved, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only --xray is given, but the model looks at pairs; give --xray and --ct"):
        export.export_model(tmp_path, "savedmodel", tmp_path / "out", [ImageRef(tmp_path / "x.png")])


def test_a_model_with_tokens_is_compared_on_xrays_alone(saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("xray_present", "ct_present")
    monkeypatch.setattr(export, "presence_inputs", lambda model: names)
    refs = []
    for number in range(3):
        refs.append(ImageRef(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((9, 9), 40 * number, np.uint8)).save(refs[-1].path)
    batch, words = export._images(saved, refs, [])
    assert words == "3 real X-rays alone"
    assert batch["xray"][2].mean() == pytest.approx(80)
    assert batch["ct"].shape == batch["xray"].shape
    assert [batch[name].ravel().tolist() for name in names] == [[1, 1, 1], [0, 0, 0]]


def test_nothing_is_overwritten(saved, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError, match="is there already; name another place with --out"):
        export.export_model(tmp_path, "savedmodel", tmp_path / "out")


def test_the_difference_is_that_of_the_calibrated_probabilities(saved) -> None:
    batch = {name: np.zeros((1, 32, 32, 3), np.float32) for name in ("xray", "ct")}
    labels = dict.fromkeys(saved.points.disease, LABEL.model_copy(update={"intercept": 0.0}))
    without_intercept = replace(saved, points=saved.points.model_copy(update={"disease": labels}))
    network = export.calibrated_network(saved)

    def run(inputs):
        return {head: np.asarray(value) for head, value in network(dict(inputs)).items()}

    assert export.max_difference(saved, batch, run) < 1e-5
    assert export.max_difference(without_intercept, batch, run) > 0.05
