"""Runs whose weights travel packed: the same bits where nothing is rounded, and where it is, the same bits again."""

import signal
import time

import keras
import pytest

from fedthorax.common.model.segments import SegmentLayout, weights_digest

START = ("simulate", "tiny.yaml", "--set", "federation.codec=int4")


def digest(workplace, name: str) -> str:
    model = keras.models.load_model(workplace.folder / "runs" / name / "model" / "last.keras", compile=False)
    return weights_digest(SegmentLayout(model).read())


@pytest.fixture(scope="module")
def rounded(workplace):
    workplace.run(*START, "--name", "rounded")
    return "rounded"


@pytest.mark.slow
def test_packed_without_loss_a_run_ends_with_the_bits_of_one_that_is_not_packed(workplace, simulated):
    workplace.run("simulate", "tiny.yaml", "--set", "federation.codec=lossless", "--name", "lossless")
    assert digest(workplace, "lossless") == digest(workplace, "tiny")
    packed, plain = workplace.metrics("lossless"), workplace.metrics("tiny")
    assert packed["rounds"][-1]["central"] == plain["rounds"][-1]["central"]
    assert packed["totals"]["bytes_received"] < 0.9 * plain["totals"]["bytes_received"]
    assert packed["totals"]["bytes_sent"] < plain["totals"]["bytes_sent"]


@pytest.mark.slow
def test_rounded_updates_take_a_part_of_the_bytes_and_nothing_is_told_to_be_wrong(workplace, simulated, rounded):
    metrics, plain = workplace.metrics(rounded), workplace.metrics("tiny")
    assert metrics["totals"]["bytes_received"] < 0.25 * plain["totals"]["bytes_received"]
    assert [entry["failures"] + entry["warnings"] for entry in metrics["rounds"]] == [
        entry["failures"] + entry["warnings"] for entry in plain["rounds"]
    ]
    assert digest(workplace, rounded) != digest(workplace, "tiny")


@pytest.mark.slow
def test_a_run_with_rounded_updates_that_is_stopped_goes_on_to_the_same_bits(workplace, simulated, rounded):
    events = workplace.folder / "runs" / "half" / "events.jsonl"
    process = workplace.start(*START, "--name", "half")
    deadline = time.monotonic() + 180
    while not (events.exists() and '"kind": "round", "round": 2' in events.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert workplace.metrics("half")["status"] == "interrupted"
    newest = events.parent / "checkpoints" / "round-0002.npz"
    newest.write_bytes(newest.read_bytes()[:-1000])  # so that the hospitals, too, go back by a round
    resumed = workplace.run(*START, "--name", "half", "--resume")
    assert "resumed after round 1" in resumed.stdout
    assert digest(workplace, "half") == digest(workplace, rounded)
    assert all(entry["warnings"] == [] for entry in workplace.metrics("half")["rounds"])
