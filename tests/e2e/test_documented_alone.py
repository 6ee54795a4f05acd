"""What README and docs print for one machine is run as it is printed, on phantoms, with the default network.

A stand-in network would not do: an export once failed for the default one alone. ``configs/demo.yaml`` is the demo with
the default network at 64 pixels, without pretrained weights, and with fewer rounds.
"""

import csv
import json
import re
from pathlib import Path

import pytest

from ..documented import ROOT
from ..waiting import wait_for
from .shell import BIN, Shell, interrupted, said, shell

__all__ = ["shell"]
pytestmark = pytest.mark.slow

BACKBONE = "model: {backbone: EfficientNetLite0}"
ROUNDS = "    - {rounds: 12, trainable: heads, learning_rate: 5e-4}"
HEADS = "    - {rounds: 1, trainable: heads, learning_rate: 5e-4}"
WHOLE = "    - {rounds: 1, trainable: all, learning_rate: 1e-4}"


def experiment(name: str, *phases: str) -> str:
    text = (ROOT / "configs" / "demo.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("name: demo", f"name: {name}"),
        (BACKBONE, "model: {weights: none, batch_norm: train, image_size: 64}"),
        (ROUNDS, "\n".join(phases)),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return f"{text}\nevaluation: {{bootstrap_samples: 50}}\n"


@pytest.fixture(scope="module")
def here(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with phantoms, and files and folders under the names by which the documents call them."""
    here = tmp_path_factory.mktemp("here")
    (here / "configs").mkdir()
    (here / "configs" / "demo.yaml").write_text(experiment("demo", WHOLE, HEADS))
    for name in ("my", "experiment"):
        (here / f"{name}.yaml").write_text(experiment(name, WHOLE))
    shell.run("fedthorax phantom data/demo --patients 24", here)
    for kind, one, many in (("xray", "chest.png", "xrays"), ("ct", "slice.png", "slices")):
        images = sorted((here / "data/demo/central" / kind).rglob("*.png"))
        (here / many).mkdir()
        (here / one).symlink_to(images[0])
        for image in images[:3]:
            (here / many / image.name).symlink_to(image)
    (here / "data/north").symlink_to(here / "data/demo/north")
    (here / "nih").symlink_to(here / "data/demo/north/xray")
    (here / "ct").mkdir()
    (here / "ct/train").symlink_to(here / "data/demo/north/ct")
    (here / "site.yaml").write_text("xray: data/demo/north/xray\nct: data/demo/north/ct\n")
    return here


@pytest.fixture(scope="module")
def demo(shell: Shell, here: Path) -> str:
    """The demo's run, stopped after its first round and resumed; what was said then."""
    told = here / "told.txt"
    first = shell.start("fedthorax simulate configs/demo.yaml --overwrite", here, told)
    wait_for(lambda: re.search(r"^ +1/2 ", told.read_text(), flags=re.M) or first.poll() is not None, "a round", 900)
    interrupted(first, 130)
    return shell.printed("fedthorax simulate configs/demo.yaml --resume", here)


def test_a_stopped_run_goes_on_after_its_last_round(demo: str) -> None:
    assert re.search(r"^ +2/2 ", demo, flags=re.M)
    assert not re.search(r"^round 1/2: \w+ trained", demo, flags=re.M)
    assert "report: runs/demo/report.html" in demo


@pytest.mark.usefixtures("demo")
def test_a_pair_is_answered_with_maps(shell: Shell, here: Path) -> None:
    answer = shell.printed("fedthorax predict runs/demo --xray chest.png --ct slice.png --maps maps", here)
    assert "Not a medical device" in answer
    for name in ("Cardiomegaly", "squamous.cell.carcinoma"):
        assert re.search(rf"^ +{name} +[01]\.\d+", answer, flags=re.M)
    maps = re.findall(r"map: (\S+)", answer)
    assert maps
    assert all((here / one).is_file() for one in maps)


@pytest.mark.usefixtures("demo")
def test_a_packed_model_answers_for_folders(shell: Shell, here: Path) -> None:
    assert "demo.zip" in shell.printed("fedthorax export runs/demo --to zip", here)
    shell.printed("fedthorax predict demo.zip --xray xrays/ --ct slices/ --csv > scores.csv", here)
    with (here / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["xray"]).name for row in rows] == sorted(path.name for path in (here / "xrays").iterdir())
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("Effusion", "normal"))


@pytest.mark.usefixtures("demo")
def test_a_hospital_is_scored(shell: Shell, here: Path) -> None:
    scores = shell.printed("fedthorax evaluate runs/demo configs/demo.yaml --site north", here)
    assert "By patient, " in scores


@pytest.mark.usefixtures("demo")
def test_the_onnx_file_says_what_the_model_says(shell: Shell, here: Path) -> None:
    told = shell.printed("fedthorax export runs/demo --to onnx --xray xrays/ --ct slices/", here)
    difference = re.search(r"largest difference of a probability: (\S+), on 3 pairs of real images", told)
    assert difference is not None
    assert float(difference[1]) < 1e-3


@pytest.mark.usefixtures("demo")
def test_two_runs_are_compared(shell: Shell, here: Path) -> None:
    shell.run("fedthorax train configs/demo.yaml --name pooled", here)
    told = shell.printed("fedthorax report --compare runs/demo runs/pooled --out comparison.html", here)
    assert "comparison.html" in told
    assert (here / "comparison.html").stat().st_size > 10_000


@pytest.mark.usefixtures("demo")
def test_the_run_made_again_has_the_same_bits(shell: Shell, here: Path) -> None:
    told = shell.printed("fedthorax replay runs/demo", here)
    assert "the same" in told
    assert (here / "runs/demo-replay").is_dir()


@pytest.mark.usefixtures("demo")
def test_a_page_opens_and_ctrl_c_ends_it(shell: Shell, here: Path) -> None:
    for page, told in (
        (shell.started("fedthorax watch runs/demo --open", here, here / "watch.txt"), here / "watch.txt"),
        (shell.started("fedthorax try runs/demo --open", here, here / "try.txt"), here / "try.txt"),
    ):
        said(told, "Ctrl-C ends", page)
        interrupted(page)
        assert told.read_text().endswith("the page is closed\n")


def test_a_run_with_fewer_bytes_on_the_way(shell: Shell, here: Path) -> None:
    told = shell.printed("fedthorax simulate configs/demo.yaml --name demo-int4 --set federation.codec=int4", here)
    assert "report: runs/demo-int4/report.html" in told


def test_figures_go_to_tensorboard_and_mlflow(shell: Shell, here: Path) -> None:
    shell.printed("fedthorax simulate my.yaml --set output.tensorboard=true", here)
    assert list((here / "runs/my/tensorboard").rglob("events.*"))
    shell.printed("fedthorax simulate my.yaml --name my-again --set output.mlflow=mlruns", here)
    assert list((here / "mlruns").rglob("meta.yaml"))


def test_what_joining_was_worth(shell: Shell, here: Path) -> None:
    told = shell.printed("fedthorax joining experiment.yaml", here)
    assert "page: runs/experiment-joining/joining.html" in told
    assert (here / "runs/experiment-joining/joining.html").is_file()


def test_a_folder_is_checked(shell: Shell, here: Path) -> None:
    assert "CT slices" in shell.printed("fedthorax check /data/ct", here, {"/data/ct": "ct/train"})
    shell.printed("fedthorax check site.yaml --html check.html", here)
    assert "<html" in (here / "check.html").read_text()
    shell.printed("fedthorax check site.yaml --fix-splits splits.csv", here)
    with (here / "splits.csv").open() as file:
        assert {row["split"] for row in csv.DictReader(file)} == {"train", "valid", "test"}


def test_pictures_are_drawn_as_the_model_sees_them(shell: Shell, here: Path) -> None:
    assert "wrote " in shell.printed("fedthorax look data/north/xray", here)
    shell.printed("fedthorax look data/north/ct --modality ct --config experiment.yaml --out ct.png", here)
    assert (here / "ct.png").read_bytes()[:4] == b"\x89PNG"


def test_hospitals_are_drawn_and_dealt_out(shell: Shell, here: Path) -> None:
    shell.printed(
        "fedthorax phantom OUT --hospitals 4 --patients 60 --alpha 0.3 --size-alpha 1 --shift 2 "
        "--shift-in contrast,noise",
        here,
        {"OUT": "drawn"},
    )
    rules = "--hospitals north,south,east --sizes 3,2,1 --without north=ct --holdout-valid 0.1"
    told = shell.printed(
        "fedthorax partition OUT --xray nih --ct ct/train [rule] [limits] [the server's part]",
        here,
        {"OUT": "dealt", "[rule] [limits] [the server's part]": rules},
    )
    assert "plot: dealt/sites.png" in told


def test_hospitals_are_compared_in_numbers(shell: Shell, here: Path) -> None:
    config = {"CONFIG": "configs/demo.yaml"}
    assert "patients with X-rays" in shell.printed("fedthorax stats CONFIG", here, config)
    shell.printed("fedthorax stats CONFIG --html page.html", here, config)
    assert (here / "page.html").is_file()
    told = shell.printed("fedthorax stats CONFIG --json", here, config)
    assert set(json.loads(told[told.index("{") :])["sites"]) == {"north", "south", "east"}


def test_the_demo_prints_what_readme_shows_and_a_hospitals_own_thresholds_answer(shell: Shell, tmp_path: Path) -> None:
    """As printed, at full size; numbers differ between processors, but its two intervals lie above 0.6 everywhere."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    told = shell.printed("make demo", tmp_path, more=f"-f {ROOT}/Makefile -o .venv/installed BIN={BIN}")
    for name in ("X-ray findings", "CT classes"):
        interval = re.search(rf"{name}, macro ROC-AUC +[\d.]+ +\(([\d.]+) to", told)
        assert interval is not None
        assert float(interval[1]) > 0.6
    for kind, name in (("xray", "chest.png"), ("ct", "slice.png")):
        (tmp_path / name).symlink_to(next((tmp_path / "data/demo/central" / kind).rglob("*.png")))
    answer = shell.printed("fedthorax predict runs/demo --site north --xray chest.png --ct slice.png", tmp_path)
    assert "Thresholds and test are those of north." in answer
