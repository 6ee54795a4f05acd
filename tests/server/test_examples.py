"""The examples of a run: of the lead's own test images, of every kind of answer, and no more than were asked for."""

from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.record.examples import read_examples
from fedthorax.common.training.scoring import Predictions
from fedthorax.server import examples
from fedthorax.server.examples import drawn, write_examples


class FakeCam:
    """Says the middle of every picture, and nothing of the first label; keeps what it was asked."""

    asked: ClassVar[list[set[str]]] = []

    def __init__(self, model):
        pass

    def maps(self, images):
        FakeCam.asked.append(set(images))
        heat = np.zeros((2, 3, 3), np.float32)
        heat[1, 1, 1] = 1
        return dict.fromkeys(images, heat)


@pytest.fixture(autouse=True)
def cam(monkeypatch):
    monkeypatch.setattr(examples, "GradCam", FakeCam)
    FakeCam.asked = []


def label(threshold):
    return LabelOperation(threshold=threshold, method="fixed", positives=0, negatives=0)


POINTS = OperatingPoints(
    site="central",
    split="valid",
    disease={"Mass": label(0.5), "Edema": label(0.25)},
    cancer={"normal": label(0.5), "tumour": label(0.5)},
)
NAN = float("nan")


def central(xray=8, ct=8):
    """X-rays in turn a hit, a miss, a false alarm and a right no of Edema, unknown of Mass; slices right and wrong."""
    pictures = np.full((8, 32, 32, 3), 90, np.uint8)
    return SimpleNamespace(
        test=SimpleNamespace(
            xray=SimpleNamespace(
                images=pictures[:xray], targets=np.array([[NAN, 1], [NAN, 1], [NAN, 0], [NAN, 0]] * 2)[:xray]
            ),
            ct=SimpleNamespace(images=pictures[:ct], targets=np.array([0, 1] * 4, np.int32)[:ct]),
        ),
        name_of=lambda modality, row: f"{modality}/{row}.png",
    )


def predictions(xray=8, ct=8):
    disease = np.array([[0.9, 0.3], [0.9, 0.2], [0.9, 0.3], [0.9, 0.2]] * 2)[:xray]
    return Predictions(disease, np.array([[0.8, 0.2]] * 8)[:ct])


def network(number):
    return SimpleNamespace(model=None, experiment=SimpleNamespace(seed=3, evaluation=SimpleNamespace(examples=number)))


def test_six_examples_are_right_and_wrong_ones_of_both_kinds_with_their_pictures(tmp_path):
    folder = tmp_path / "examples"
    assert write_examples(folder, network(6), central(), predictions(), POINTS) == 6
    found = read_examples(folder)
    told = [(one.modality, one.truth, one.right) for one in found if one.modality == "xray"]
    assert told == [("xray", "present", True), ("xray", "present", False), ("xray", "absent", False)]
    assert sorted((one.label, one.truth, one.right) for one in found if one.modality == "ct") == [
        ("normal", "normal", True),
        ("normal", "normal", True),
        ("normal", "tumour", False),
    ]
    assert {one.label for one in found if one.modality == "xray"} == {"Edema"}, "of Mass nothing is known"
    assert len({(one.modality, one.file) for one in found}) == 6
    for one in found:
        for name in (one.image, one.map):
            with Image.open(folder / name) as picture:
                assert picture.size == (224, 224)
    assert FakeCam.asked == [{"xray", "ct"}] * 3
    (miss,) = (one for one in found if one.modality == "xray" and one.truth == "present" and not one.right)
    assert (miss.probability, miss.threshold) == (0.2, 0.25)


@pytest.mark.parametrize("seed", range(8))
def test_a_right_no_is_no_false_alarm_whatever_the_seed(tmp_path, seed):
    asked = network(6)
    asked.experiment.seed = seed
    write_examples(tmp_path, asked, central(), predictions(), POINTS)
    found = [one for one in read_examples(tmp_path) if one.truth == "absent"]
    assert [one.probability for one in found] == [0.3]


def test_equal_seeds_draw_equal_examples(tmp_path):
    for name in ("one", "other"):
        write_examples(tmp_path / name, network(6), central(), predictions(), POINTS)
    assert read_examples(tmp_path / "one") == read_examples(tmp_path / "other") != ()


def test_none_are_written_where_none_are_wanted(tmp_path):
    assert write_examples(tmp_path / "examples", network(0), central(), predictions(), POINTS) == 0
    assert not (tmp_path / "examples").exists()
    assert FakeCam.asked == []


def test_without_x_rays_all_are_slices_and_the_model_is_asked_about_them_alone(tmp_path):
    assert write_examples(tmp_path, network(4), central(xray=0), predictions(xray=0), POINTS) == 4
    assert {one.modality for one in read_examples(tmp_path)} == {"ct"}
    assert FakeCam.asked == [{"ct"}] * 4


def test_a_central_test_without_images_has_no_examples(tmp_path):
    folder = tmp_path / "examples"
    assert write_examples(folder, network(6), central(0, 0), predictions(0, 0), POINTS) == 0
    assert not folder.exists()


def test_a_slice_that_was_not_scored_is_no_example(tmp_path):
    unscored = predictions(xray=0)
    unscored.cancer[:7] = NAN
    assert write_examples(tmp_path, network(6), central(xray=0), unscored, POINTS) == 1
    assert read_examples(tmp_path)[0].file == "ct/7.png"


def test_where_a_kind_is_missing_another_stands_in_and_labels_take_turns():
    rng = np.random.default_rng(0)
    kinds = {"hit": [(0, 0), (1, 0), (2, 1)], "miss": [], "false alarm": [(3, 1)]}
    found = drawn(kinds, ("hit", "miss", "false alarm"), 9, rng)
    assert len(found) == len(set(found)) == 4
    assert {column for _, column in found[:2]} == {0, 1}


@pytest.mark.parametrize("text", ["[", "{}", '[{"image": "../../secret.jpg"}]'])
def test_a_damaged_list_or_one_that_leads_elsewhere_is_no_list(tmp_path: Path, text):
    (tmp_path / "examples.json").write_text(text)
    assert read_examples(tmp_path) == ()


def test_a_picture_lies_in_the_folder_and_nowhere_else(tmp_path):
    write_examples(tmp_path, network(2), central(), predictions(), POINTS)
    file = tmp_path / "examples.json"
    assert len(read_examples(tmp_path)) == 2
    file.write_text(file.read_text().replace("00-image.jpg", "../00-image.jpg"))
    assert read_examples(tmp_path) == ()
