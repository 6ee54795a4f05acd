"""The main job in real processes: simulate, look at what it left behind, do it again, break it, stop it."""

import csv
import json
import os
import shutil
import signal
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.ground.audit import verify
from fedthorax.common.record.run_folder import RunFolder, config_sha256

pytestmark = pytest.mark.ci


def processes_below(folder: Path) -> list[str]:
    """Command lines of running processes that work in ``folder`` or have inherited its path."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if (entry / "cwd").readlink() == folder or str(folder).encode() in (entry / "environ").read_bytes():
                found.append(command)
        except OSError:
            continue  # ended meanwhile
    return found


def left_behind(workplace) -> list[str]:
    """Processes and temporary folders of the commands that were run here; other people's runs are not looked at."""
    deadline = time.monotonic() + 20
    while (found := processes_below(workplace.folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found + [
        str(path) for number in workplace.process_ids for path in Path("/tmp").glob(f"fedthorax-{number}-*")
    ]


def test_the_run_folder_is_complete(workplace, simulated):
    run = workplace.folder / "runs" / "tiny"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert {"plots/rounds.svg", "plots/rounds.png", "examples/examples.json"} <= names
    assert sum(name.endswith("-map.jpg") for name in names) == 6
    assert {name for name in names if not name.startswith(("plots/", "examples/"))} == {
        ".lock",
        "audit.jsonl",
        "checkpoints/round-0002.npz",
        "checkpoints/round-0003.npz",
        *{f"checkpoints/round-{workplace.metrics('tiny')['best_round']:04d}.npz"},
        "config.yaml",
        "events.jsonl",
        "history.csv",
        "metrics.json",
        "model/best.keras",
        "model/last.keras",
        "model/card.md",
        "model/model.json",
        "report.html",
        "test_predictions.csv",
    }
    verify(run / "audit.jsonl")


def test_the_models_of_the_run_can_be_attacked(workplace, simulated):
    said = workplace.run("leakage", "runs/tiny", "--canaries", "20")
    folder = workplace.folder / "runs" / "tiny-leakage"
    found = json.loads((folder / "leakage.json").read_text(encoding="utf-8"))
    assert (found["target"], found["reference_runs"], found["audit"]["canaries"]) == ("the model of the run", 16, 20)
    assert {(one["target"], one["modality"]) for one in found["membership"]} == {("run", "xray"), ("run", "ct")}
    assert "X-rays: the best attack" in said.stdout
    assert (folder / "leakage.html").stat().st_mode & 0o077 == 0


def test_the_metrics_hold_every_round_of_every_side(workplace, simulated):
    metrics = workplace.metrics("tiny")
    assert (metrics["schema_version"], metrics["status"], metrics["error"]) == (3, "finished", None)
    assert [entry["round"] for entry in metrics["rounds"]] == [0, 1, 2, 3]
    assert [entry["phase"] and entry["phase"]["trainable"] for entry in metrics["rounds"]] == [
        None,
        "all",
        "all",
        "heads",
    ]
    for entry in metrics["rounds"]:
        assert set(entry["sites"]) == {"north", "south"}
        assert entry["failures"] == []
        assert set(entry["central"]["disease"]["per_finding"]) == set(metrics["labels"]["findings"])
        for site in entry["sites"].values():
            assert site["valid"]["loss"] > 0  # the closing evaluation fills the last round
            assert (site["train"] is None) == (entry["round"] == 0)
    assert metrics["test"]["round"] == metrics["best_round"]
    assert metrics["test"]["intervals"]["disease"]["macro"]["roc_auc"]
    assert all(site["test"] for site in metrics["sites"].values())
    confusion = np.array(metrics["test"]["cancer"]["confusion_matrix"])
    assert confusion.shape == (4, 4)
    assert confusion.sum() == metrics["central"]["data"]["splits"]["test"]["ct"] == metrics["test"]["cancer"]["known"]


def test_only_the_heads_travel_back_in_a_heads_phase(workplace, simulated):
    whole, _, heads = (entry["bytes_received"] for entry in workplace.metrics("tiny")["rounds"][1:])
    assert heads < whole / 4


def test_scores_stand_where_they_stood_before(workplace, simulated):
    """A golden run: other processors round differently, so figures are compared with a tolerance, counts exactly.

    So small a network magnifies rounding: starting weights that were changed by one part in ten million moved the
    central losses by up to 0.5 %, and a hospital's loss in its last epoch, a mean over few pairs, by up to 13 %.
    """
    golden_file = Path(__file__).parent / "golden.json"
    metrics = workplace.metrics("tiny")
    came = {
        "counts": {name: site["data"]["splits"] for name, site in metrics["sites"].items()},
        "loss": [entry["central"]["loss"] for entry in metrics["rounds"]],
        "train_loss": [[site["train"]["loss"] for site in entry["sites"].values()] for entry in metrics["rounds"][1:]],
    }
    if os.environ.get("FEDTHORAX_WRITE_GOLDEN"):
        golden_file.write_text(json.dumps(came, indent=1) + "\n")
    golden = json.loads(golden_file.read_text())
    assert came["counts"] == golden["counts"]
    assert came["loss"] == pytest.approx(golden["loss"], rel=0.02)
    # By round, the last of the heads alone, which magnifies nothing.
    for mine, theirs, tolerance in zip(came["train_loss"], golden["train_loss"], (0.05, 0.25, 0.02), strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance)


@pytest.mark.parametrize("kind", ["best", "last"])
def test_saved_models_load_with_plain_keras(workplace, simulated, kind):
    model = keras.models.load_model(workplace.folder / "runs" / "tiny" / "model" / f"{kind}.keras")
    black = np.zeros((1, 32, 32, 3), np.float32)
    outputs = model({"xray": black, "ct": black})
    assert outputs["disease"].shape == (1, 6)
    assert float(np.sum(outputs["cancer"])) == pytest.approx(1)


def test_evaluating_the_best_model_gives_the_headline_again(workplace, simulated):
    printed = workplace.run("evaluate", "runs/tiny", "tiny.yaml", "--json").stdout
    scores, headline = json.loads(printed)["scores"], workplace.metrics("tiny")["test"]
    assert scores["disease"]["macro"]["roc_auc"] == pytest.approx(headline["disease"]["macro"]["roc_auc"])
    assert scores["cancer"]["confusion_matrix"] == headline["cancer"]["confusion_matrix"]


def test_copies_of_validation_images_in_the_test_split_are_scored_apart(workplace, simulated):
    ct = workplace.folder / "data" / "central" / "ct"
    copied = sorted((ct / "valid" / "normal").iterdir())[0]
    target = ct / "test" / "normal" / "copy.png"
    shutil.copy(copied, target)
    try:
        accept = ("--set", "data.accept=[duplicate-across-splits]")
        told = json.loads(workplace.run("evaluate", "runs/tiny", "tiny.yaml", *accept, "--json").stdout)
        printed = workplace.run("evaluate", "runs/tiny", "tiny.yaml", *accept).stdout
    finally:
        target.unlink()
    headline = workplace.metrics("tiny")["test"]["cancer"]
    assert told["left_out"] == 1
    assert told["scores"]["cancer"]["confusion_matrix"] == headline["confusion_matrix"]
    assert told["scores_with_duplicates"]["cancer"]["known"] == headline["known"] + 1
    assert "1 test image also stands where the model was trained or selected: left out above" in printed


def test_predicting_single_files(workplace, simulated):
    xray = next((workplace.folder / "data" / "north" / "xray" / "images").iterdir())
    ct = next((workplace.folder / "data" / "north" / "ct" / "normal").iterdir())
    printed = workplace.run("predict", "runs/tiny", "--xray", str(xray), "--ct", str(ct), "--json").stdout
    (row,) = json.loads(printed)["predictions"]
    assert sum(row["cancer"].values()) == pytest.approx(1, abs=1e-5)
    assert set(row["disease"]) == set(workplace.metrics("tiny")["labels"]["findings"])


def test_the_resolved_configuration_runs_again_as_it_stands(workplace, simulated):
    folder = RunFolder.load(workplace.folder / "runs" / "tiny")
    experiment, facts = folder.read_config()
    assert load_experiment(folder.config) == experiment
    assert facts["config_sha256"] == config_sha256(experiment) == workplace.metrics("tiny")["config_sha256"]
    assert set(facts["data_fingerprints"]) == {"north", "south"}
    assert "flwr" in facts["versions"]


def test_the_history_has_a_row_for_every_round_and_scope(workplace, simulated):
    with (workplace.folder / "runs" / "tiny" / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["round"], row["scope"], row["site"]) for row in rows[:3]] == [
        ("0", "central", ""),
        ("0", "site", "north"),
        ("0", "site", "south"),
    ]
    assert len(rows) == 4 * 3


def test_the_output_is_plain_and_narrow_and_ends_with_the_report(simulated):
    lines = simulated.stdout.rstrip().splitlines()
    assert lines[-1] == "report: runs/tiny/report.html"
    assert all(len(line) <= 80 for line in lines)
    assert "\x1b" not in simulated.stdout
    assert simulated.stderr == ""


def test_a_second_run_of_the_same_name_is_refused(workplace, simulated):
    refused = workplace.run("simulate", "tiny.yaml", expect=1)
    assert refused.stderr.startswith("error: ")
    assert "already holds a run; add --overwrite" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_run_leaves_nothing_behind(workplace, simulated):
    assert left_behind(workplace) == []


def test_a_polite_kill_ends_in_order_as_ctrl_c_does(workplace, simulated):
    """SIGTERM goes the way of Ctrl-C (tests/cli/test_main.py), past Ray, which aborted with a stack dump."""
    process = workplace.start("simulate", "tiny.yaml", "--name", "stopped", "--set", "training.phases.0.rounds=500")
    events = workplace.folder / "runs" / "stopped" / "events.jsonl"
    deadline = time.monotonic() + 600  # a busy machine has needed more than 120
    try:
        while not (events.exists() and '"stage": "train"' in events.read_text()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert left_behind(workplace) == []
    metrics = workplace.metrics("stopped")
    assert (metrics["status"], metrics["test"]) == ("interrupted", None)
    assert (workplace.folder / "runs" / "stopped" / "report.html").stat().st_size > 1000
    assert zipfile.is_zipfile(workplace.folder / "runs" / "stopped" / "model" / "last.keras")


@pytest.fixture
def broken_south(workplace):
    """South's first X-ray is cut short for the time of a test."""
    file = sorted((workplace.folder / "data" / "south" / "xray" / "images").iterdir())[0]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    yield file
    file.write_bytes(whole)


def test_a_hospital_that_fails_is_named_and_the_others_go_on(workplace, simulated, broken_south):
    arguments = ["--set", "federation.min_sites=1", "--set", "training.phases=[{rounds: 1, trainable: all}]"]
    workplace.run("simulate", "tiny.yaml", "--name", "without-south", *arguments)
    metrics = workplace.metrics("without-south")
    failures = [failure for entry in metrics["rounds"] for failure in entry["failures"]]
    assert {failure["site"] for failure in failures} == {"south"}
    assert broken_south.name in failures[0]["reason"]
    assert metrics["rounds"][1]["sites"]["north"]["train"]["pairs"] > 0
    assert metrics["rounds"][1]["sites"]["south"]["train"] is None


def test_too_few_hospitals_end_the_run_with_their_reasons(workplace, simulated, broken_south):
    failed = workplace.run("simulate", "tiny.yaml", "--name", "too-few", expect=1)
    assert failed.stderr.startswith("error: the start needs 2 hospitals, but 1 answered (south: ")
    assert broken_south.name in failed.stderr
    assert workplace.metrics("too-few")["status"] == "failed"
    assert left_behind(workplace) == []
