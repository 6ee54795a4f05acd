"""The yardsticks: training on pooled images, and one hospital alone."""

import pytest

pytestmark = pytest.mark.ci


def test_centralised_training_pools_the_hospitals(workplace, simulated):
    trackers = ("--set", "output.tensorboard=true", "--set", "output.mlflow=mlruns")
    workplace.run("train", "tiny.yaml", "--name", "pooled", *trackers)
    pooled, federated = workplace.metrics("pooled"), workplace.metrics("tiny")
    assert list(pooled["sites"]) == ["pooled"]
    for split in ("train", "valid", "test"):
        counts = [site["data"]["splits"][split]["xray"] for site in federated["sites"].values()]
        assert pooled["sites"]["pooled"]["data"]["splits"][split]["xray"] == sum(counts)
    assert [entry["round"] for entry in pooled["rounds"]] == [0, 1, 2, 3]
    # Both arms start from the same weights and are scored on the same central images.
    assert pooled["rounds"][0]["central"]["loss"] == pytest.approx(federated["rounds"][0]["central"]["loss"], rel=1e-5)
    assert pooled["totals"]["bytes_sent"] == 0
    assert list((workplace.folder / "runs" / "pooled" / "tensorboard").iterdir())
    (curve,) = (workplace.folder / "mlruns").glob("*/*/metrics/central/valid/loss")
    assert [line.split()[2] for line in curve.read_text().splitlines()] == ["0", "1", "2", "3"]


def test_one_hospital_trains_alone(workplace, simulated):
    workplace.run("train", "tiny.yaml", "--hospital", "south", "--name", "alone")
    alone = workplace.metrics("alone")
    assert list(alone["sites"]) == ["south"]
    assert alone["sites"]["south"]["data"] == workplace.metrics("tiny")["sites"]["south"]["data"]


def test_an_unknown_hospital_is_refused(workplace, simulated):
    refused = workplace.run("train", "tiny.yaml", "--hospital", "west", "--name", "nobody", expect=1)
    assert "west" in refused.stderr
    assert "north, south" in refused.stderr


def test_parts_of_the_network_are_trained_and_one_that_gets_no_better_stops(workplace):
    phases = (
        "training.phases=[{rounds: 3, trainable: parts, learning_rate: 1e-7, part_patience: 1, "
        "parts: {ct: {top: 3, rate_factor: 0.5}, fusion: {}}}]"
    )
    workplace.run("train", "tiny.yaml", "--name", "parts", "--set", phases)
    metrics = workplace.metrics("parts")
    assert [entry["failures"] for entry in metrics["rounds"]] == 4 * [[]]
    areas = [entry["central"]["cancer"]["macro"]["roc_auc"] for entry in metrics["rounds"]]
    worse = next((number for number in (1, 2, 3) if areas[number] <= max(areas[:number])), 3)
    parts = [entry["phase"]["parts"] for entry in metrics["rounds"][1:]]
    assert parts == worse * [["ct", "fusion"]] + (3 - worse) * [["fusion"]]
    assert "all else frozen" in (workplace.folder / "runs" / "parts" / "report.html").read_text()
