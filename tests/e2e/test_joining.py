"""Did joining pay? All arms in real processes, and the page for the hospitals' directors."""

import json
import shutil

import keras
import psutil
import pytest

from ..waiting import wait_for

pytestmark = pytest.mark.slow
SHORT = (
    *("--set", "training.phases=[{rounds: 3, trainable: all, learning_rate: 3e-3}]"),
    *("--set", "personalisation={fine_tune: [outputs, heads], epochs: 3, learning_rate: 3e-3}"),
    *("--set", "federation.codec=lossless"),
)
LONG = 3600.0  # seconds: several runs in one command, also on a machine that does other work


@pytest.fixture(scope="module")
def told(workplace) -> dict:
    said = workplace.run("joining", "tiny.yaml", *SHORT, "--json", seconds=LONG)
    assert "1 of 3: together: north, south" in said.stderr
    assert "2 of 3: north alone" in said.stderr
    return json.loads(said.stdout)


def test_every_hospital_is_told_what_it_got(told):
    assert set(told["hospitals"]) == {"north", "south"}
    for entry in told["hospitals"].values():
        assert entry["own"]["verdict"]["disease"] in ("helped", "harmed", "no difference shown", "cannot be told")
        assert set(entry["own"]["scores"]) == {"alone", "common", "joined"}
        assert 0 < entry["share_of_pairs"] < 1
    assert set(told["cross_site"]["cancer"]) == {"north", "south", "together"}
    assert told["leaving_out"] == "exact"


def test_what_a_hospital_gives_to_the_only_other_one_is_what_that_one_gets(told):
    """With two hospitals the model without one is the other's alone."""
    gave = told["hospitals"]["north"]["contribution"]["with_less_without"]["cancer"]["rows"]
    got = told["hospitals"]["south"]["own"]["common_less_alone"]["cancer"]["rows"]
    assert [row["difference"] for row in gave] == [row["difference"] for row in got]


def test_the_page_opens_offline_and_says_it_in_words(told, workplace):
    page = (workplace.folder / "runs" / "tiny-joining" / "joining.html").read_text()
    assert "Did joining pay?" in page
    assert "What it gave" in page
    assert "src=" not in page


def test_the_scores_of_the_fine_tuned_models_are_in_the_run_and_so_are_the_models(told, workplace):
    run = workplace.folder / "runs" / "tiny-joining" / "together"
    metrics = json.loads((run / "metrics.json").read_text())
    for site, entry in metrics["sites"].items():
        kept = entry["personal"]["kept"]
        assert kept == told["hospitals"][site]["kept"]
        losses = entry["personal"]["valid_loss"]
        assert losses[kept or "common"] == min(losses.values())
        file = run / "personal" / site / "model.keras"
        assert file.is_file() == (kept is not None)
        if kept is not None:
            keras.models.load_model(file)
            said = workplace.run("evaluate", str(file), "tiny.yaml", "--site", site, "--json")
            areas = json.loads(said.stdout)["scores"]["cancer"]["macro"]["roc_auc"]
            assert areas == pytest.approx(entry["personal"]["own"]["cancer"]["macro"]["roc_auc"])
    assert "Fine-tuned at the hospitals" in (run / "report.html").read_text()


def test_what_has_been_run_is_not_run_again_and_gives_the_same(told, workplace):
    said = workplace.run("joining", "tiny.yaml", *SHORT, "--json")
    assert "1 of 3" not in said.stderr
    again = json.loads(said.stdout)
    assert again == told


def test_another_experiment_is_not_taken_for_the_same(told, workplace):
    refused = workplace.run("joining", "tiny.yaml", *SHORT, "--set", "training.batch_size=4", expect=1)
    assert "training.batch_size is 4, was 8" in refused.stderr


def test_a_comparison_that_is_killed_takes_its_run_along_and_goes_on_to_the_same_end(told, workplace):
    folder = workplace.folder / "runs" / "tiny-joining" / "together"
    shutil.rmtree(folder)
    process = workplace.start("joining", "tiny.yaml", *SHORT)
    wait_for(lambda: (folder / "checkpoints" / "round-0001.npz").exists(), "the first round", LONG)
    (run,) = psutil.Process(process.pid).children()
    below = run.children(recursive=True)
    process.kill()
    process.communicate()
    _, left = psutil.wait_procs([run, *below], 120)
    assert left == []
    said = workplace.run("joining", "tiny.yaml", *SHORT, "--json", seconds=LONG)
    assert "resumed after round" in said.stderr
    assert json.loads(said.stdout) == told
