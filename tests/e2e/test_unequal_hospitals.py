"""Three kinds of hospitals in one run, in real processes: X-rays alone, CT alone, and both at the server."""

import json

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.slow

LACKING = (
    *("--set", "name=unequal"),
    *("--set", "data.hospitals.north={xray: data/north/xray}"),
    *("--set", "data.hospitals.south={ct: data/south/ct}"),
    *("--set", "model.absent=token"),
)


@pytest.fixture(scope="module")
def metrics(workplace):
    workplace.run("simulate", "tiny.yaml", *LACKING)
    return workplace.metrics("unequal")


def test_hospitals_with_one_modality_each_train_one_model(metrics):
    assert metrics["status"] == "finished"
    assert [entry["failures"] for entry in metrics["rounds"]] == [[]] * 4
    assert metrics["sites"]["north"]["data"]["modalities"] == ["xray"]
    first = metrics["rounds"][1]["sites"]
    assert first["north"]["train"]["cancer_loss"] is None
    assert first["south"]["train"]["disease_loss"] is None
    assert first["north"]["train"]["without_ct"] == first["north"]["train"]["pairs"] > 0


def test_what_a_hospital_lacks_is_not_sent_there(metrics, workplace):
    """Two whole models would go down in the first round; half of the encoders stays away."""
    whole = workplace.folder / "runs" / "unequal" / "checkpoints" / "round-0003.npz"
    size = sum(values.nbytes for name, values in np.load(whole).items() if "." in name and "strategy" not in name)
    assert metrics["rounds"][1]["bytes_sent"] < 1.3 * size


def test_the_report_says_how_good_the_model_is_by_what_it_was_given(metrics, workplace):
    assert set(metrics["test"]["by_given"]) == {"xray", "ct", "both"}
    page = (workplace.folder / "runs" / "unequal" / "report.html").read_text()
    assert "By what was given" in page
    assert "All hospitals&#39; own test images together" in page or "All hospitals' own test images together" in page


def test_the_pooled_figures_are_of_the_hospitals_that_have_such_images(metrics):
    assert metrics["pooled"]["disease"]["Effusion"]["hospitals"] in (["north"], [])
    assert metrics["pooled"]["cancer"]["normal"]["hospitals"] in (["south"], [])


def test_the_model_answers_for_an_x_ray_alone(metrics, workplace):
    told = workplace.run("predict", "runs/unequal", "--xray", "data/central/xray", "--json")
    first = json.loads(told.stdout)["predictions"][0]
    assert first["ct"] is None
    assert all(0 <= p <= 1 for p in first["disease"].values())
    assert set(first["cancer"].values()) == {None}


def test_plain_keras_opens_it(metrics, workplace):
    model = keras.models.load_model(workplace.folder / "runs" / "unequal" / "model" / "best.keras")
    assert {tensor.name for tensor in model.inputs} == {"xray", "ct", "xray_present", "ct_present"}
