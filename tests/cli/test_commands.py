"""Each command against stand-ins for what it calls: what it passes on and what it prints."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fedthorax.cli import main as cli
from fedthorax.cli.predict import prediction_lines
from fedthorax.common.ground.events import EventLog
from fedthorax.common.records.records import ImageRef

from ..runs import central_test, intervals, partial_round, partial_run

WriteFile = Callable[..., Path]


@dataclass
class Outcome:
    folder: Path


RUN = partial_run(
    rounds=[
        partial_round(0),
        partial_round(1, failures=[{"site": "north", "stage": "train", "reason": "disk full"}]),
    ],
    best_round=1,
    totals={"seconds": 12.5, "bytes_sent": 0, "bytes_received": 0},
    test=central_test(
        disease={"macro": {"roc_auc": 0.75, "f1": 0.5}},
        cancer={"accuracy": 0.8, "macro": {"roc_auc": 0.9, "f1": None}},
        intervals=intervals({"macro": {"roc_auc": [0.7, 0.8]}}, {"accuracy": [0.6, 0.9]}),
    ),
)


def _stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    module = ModuleType(name)
    for key, value in attributes.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def _run_that(status: str, calls: list[Any]) -> Callable[..., Outcome]:
    def run(experiment: Any, **options: Any) -> Outcome:
        calls.append((experiment, options))
        folder = experiment.run_folder.absolute()
        with EventLog(folder / "events.jsonl") as log:
            log.emit("run", name=experiment.name, rounds=1, sites=["north"])
        (folder / "report.html").write_text("", encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps({**RUN, "status": status}), encoding="utf-8")
        return Outcome(folder)

    return run


def test_simulate_passes_the_experiment_on_and_ends_with_the_path_of_the_report(
    experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []
    _stand_in(monkeypatch, "fedthorax.simulations.simulate", simulate=_run_that("finished", calls))
    assert cli.run(["simulate", str(experiment_file()), "--name", "x.1", "--set", "seed=4", "--overwrite"]) == 0
    ((experiment, options),) = calls
    assert (experiment.name, experiment.seed) == ("x.1", 4)
    assert options == {"overwrite": True, "resume": False, "leave_out": ()}
    assert capsys.readouterr().out.splitlines() == [
        "run x.1: 1 round, hospital north",
        "best round 1 of 1",
        "test scores of this round, 95 % intervals",
        "  X-ray findings, macro ROC-AUC   0.750  (0.700 to 0.800)",
        "  X-ray findings, macro F1        0.500",
        "  CT classes, accuracy            0.800  (0.600 to 0.900)",
        "  CT classes, macro ROC-AUC       0.900",
        "  CT classes, macro F1                -",
        "report: runs/x.1/report.html",
    ]


def test_a_stopped_simulation_is_resumed_on_demand(experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    _stand_in(monkeypatch, "fedthorax.simulations.simulate", simulate=_run_that("finished", calls))
    assert cli.run(["simulate", str(experiment_file()), "--resume"]) == 0
    assert calls[0][1] == {"overwrite": False, "resume": True, "leave_out": ()}


def test_simulate_json_is_one_object_on_stdout_and_progress_on_stderr(
    experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(monkeypatch, "fedthorax.simulations.simulate", simulate=_run_that("finished", []))
    assert cli.run(["simulate", str(experiment_file()), "--json"]) == 0
    output = capsys.readouterr()
    outcome = json.loads(output.out)
    assert outcome["report"] == str(Path("runs/tiny/report.html").absolute())
    assert outcome["best_round"] == 1
    assert outcome["failures"] == [{"round": 1, "site": "north", "stage": "train", "reason": "disk full"}]
    assert "curves" not in outcome["test"]
    assert output.err == "run tiny: 1 round, hospital north\n"


def test_an_interrupted_run_exits_with_130(
    experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _stand_in(monkeypatch, "fedthorax.simulations.simulate", simulate=_run_that("interrupted", []))
    assert cli.run(["simulate", str(experiment_file())]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_train_takes_one_hospital_or_all(experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    _stand_in(monkeypatch, "fedthorax.simulations.centralised", train=_run_that("finished", calls))
    path = str(experiment_file())
    assert cli.run(["train", path]) == 0
    assert cli.run(["train", path, "--hospital", "st.mary", "--name", "mary"]) == 0
    assert [options for _, options in calls] == [
        {"hospital": None, "overwrite": False},
        {"hospital": "st.mary", "overwrite": False},
    ]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "tiny.yaml", "--hospital", "west"], "error: --hospital west: expected one of north, st.mary"),
        (
            ["evaluate", "m.keras", "tiny.yaml", "--site", "west"],
            "error: --site west: expected one of central, north, st.mary",
        ),
        (
            ["evaluate", "m.keras", "tiny.yaml"],
            "error: m.keras: no such file; expected a .keras model, a packed .zip or a run folder",
        ),
        (
            ["evaluate", "tiny.yaml", "tiny.yaml"],
            "error: tiny.yaml: expected a .keras model, a packed .zip or a run folder",
        ),
        (["evaluate", ".", "tiny.yaml"], "error: .: expected a run folder, but it has no model/best.keras"),
        (
            ["evaluate", "net.keras", "tiny.yaml", "--site", "north"],
            "error: data.hospitals.north: data/north/xray: no such folder; "
            "data.hospitals.north: data/north/ct: no such folder",
        ),
        (["predict", "net.keras", "--xray", "x.png", "--ct", "."], "error: x.png: no such image or folder"),
        (
            ["predict", "net.keras", "--xray", ".", "--ct", "."],
            "error: .: no image in this folder; expected PNG, JPEG, DICOM or NIfTI files",
        ),
        (["report", "."], "error: .: expected a run folder, but it has no metrics.json"),
        (["partition", "out", "--ct", ".", "--sizes", "1,x"],
         "error: --sizes 1,x: expected numbers with commas between them, such as 3,2,1"),
        (["partition", "out"], "error: there is nothing to split: name an X-ray folder, a CT folder, or both"),
    ],
)  # fmt: skip
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(
    arguments: list[str], line: str, experiment_file: WriteFile, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment_file()
    Path("net.keras").touch()
    assert cli.run(arguments) == 1
    assert capsys.readouterr().err == line + "\n"


PREDICTION = {
    "xray": "x/b.png",
    "ct": "s.jpg",
    "disease": {"Effusion": 0.25, "Mass": 0.75},
    "cancer": {"normal": 0.9, "tumour": 0.1},
    "predicted": {"findings": ["Mass"], "cancer_class": "normal", "cancer_above_threshold": ["normal"]},
    "flags": {"xray": ["inverted"], "ct": []},
}
TESTED = {"roc_auc": {"value": 0.8, "interval": [0.7, 0.9]}, "support": 30, "descriptive": False}
FEW = {**TESTED, "support": 3, "descriptive": True}
DOCUMENT = {
    "notice": "Not a medical device.",
    "site": None,
    "labels": {
        "disease": {
            "Effusion": {"threshold": 0.3, "evaluation": TESTED},
            "Mass": {"threshold": 0.5, "evaluation": FEW},
        },
        "cancer": {name: {"threshold": 0.5, "evaluation": None} for name in ("normal", "tumour")},
    },
    "tested_by_patient": None,
    "examinations": [],
    "predictions": [PREDICTION],
    "skipped": [],
}
SERIES = {
    "ct": "scan.nii",
    "xray": "x/b.png",
    "slices": 2,
    "rule": "mean",
    "disease": {"Effusion": 0.25, "Mass": 0.75},
    "cancer": {"normal": 0.4, "tumour": 0.6},
    "predicted": {"findings": ["Mass"], "cancer_class": "tumour", "cancer_above_threshold": ["tumour"]},
    "thresholds": {"normal": 0.55, "tumour": 0.45},
    "behind": {"scan.nii (slice 0)": 0.3, "scan.nii (slice 1)": 0.9},
    "speak_most": ["scan.nii (slice 1)", "scan.nii (slice 0)"],
}


def test_a_series_has_one_answer_and_names_the_slices_that_speak_most():
    rows = [{**PREDICTION, "ct": ct} for ct in SERIES["behind"]]
    tested = {"patients": 40, "rule": "mean", "roc_auc": {"value": 0.8, "interval": [0.7, 0.9]}}
    document = {**DOCUMENT, "examinations": [SERIES], "predictions": rows, "tested_by_patient": tested}
    lines = prediction_lines(document)
    assert lines[-8:] == [
        "scan.nii: 2 slices together (mean)",
        "                 threshold",
        "* tumour  0.600      0.450",
        "  normal  0.400      0.550",
        "  ROC-AUC in the test by patient 0.800 (0.700 to 0.900), 40 patients",
        "  speak most for tumour:",
        "    scan.nii (slice 1)  0.900",
        "    scan.nii (slice 0)  0.300",
    ]
    assert lines.count("x/b.png") == 1  # the X-ray beside all slices is told once
    mapped = [
        {**row, "maps": {"xray": {"Mass": f"{number}-xray.png"}, "ct": {"tumour": f"{number}-ct.png"}}}
        for number, row in enumerate(rows)
    ]
    lines = prediction_lines({**document, "predictions": mapped})
    assert [line for line in lines if "map: " in line] == [
        "  map: 0-xray.png",
        "  map: 1-xray.png",
        "  scan.nii (slice 0): map: 0-ct.png",
        "  scan.nii (slice 1): map: 1-ct.png",
    ]
    low = {**SERIES, "predicted": {**SERIES["predicted"], "cancer_above_threshold": []}}
    low |= {"thresholds": {"normal": 0.55, "tumour": 0.60004}}
    assert prediction_lines({**document, "examinations": [low]})[-7:-3] == [
        "  tumour  0.60000    0.60004",
        "  normal    0.400      0.550",
        "  the most probable class does not reach its threshold",
        "  ROC-AUC in the test by patient 0.800 (0.700 to 0.900), 40 patients",
    ]
    low["predicted"] |= {"cancer_above_threshold": None}
    assert prediction_lines({**document, "examinations": [low | {"thresholds": None}]})[-7:-4] == [
        "  tumour  0.600",
        "  normal  0.400",
        "  no threshold was chosen for whole examinations",
    ]
    untested = prediction_lines({**document, "tested_by_patient": None})
    assert "  not tested by patient: no patient of the test is known to have several slices" in untested


@pytest.fixture
def predictor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A run folder, two X-rays and a slice in the working directory; what the predictor was called with."""
    monkeypatch.chdir(tmp_path)
    for name in ("run/model/best.keras", "x/b.png", "x/a/c.JPG", "x/labels.csv", "s.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    calls: list[Any] = []

    def predict_files(*arguments: Any) -> dict[str, Any]:
        calls.append(arguments)
        return DOCUMENT

    _stand_in(monkeypatch, "fedthorax.common.release.predict", predict_files=predict_files)
    return calls


def test_predict_finds_the_best_model_and_all_images_and_ranks_what_it_says(
    predictor: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["predict", "run", "--xray", "x", "--ct", "s.jpg"]) == 0
    assert predictor == [
        (
            Path("run/model/best.keras"),
            [ImageRef(Path("x/a/c.JPG")), ImageRef(Path("x/b.png"))],
            [ImageRef(Path("s.jpg"))],
            None,
            False,
            None,
            False,
        )
    ]
    assert capsys.readouterr().out.splitlines() == [
        "Not a medical device.",
        "",
        "x/b.png",
        "  look at it: black and white look exchanged (inverted, docs/check.md)",
        "                   threshold     ROC-AUC in its test  positive",
        "* Mass      0.750      0.500         0.800 (too few)         3",
        "  Effusion  0.250      0.300  0.800 (0.700 to 0.900)        30",
        "",
        "s.jpg",
        "                 threshold  ROC-AUC in its test  positive",
        "* normal  0.900      0.500           not tested         -",
        "  tumour  0.100      0.500           not tested         -",
    ]


def test_an_answer_fits_80_columns_beside_long_names_and_names_the_hospital_whose_test_it_is():
    long = {"enlarged cardiomediastinum": 0.999, "suboptimal study, somewhere": 0.001}
    labels = {"disease": {name: {"threshold": 0.5, "evaluation": TESTED} for name in long}}
    row = {**PREDICTION, "disease": long, "predicted": {"findings": [*long][:1], "cancer_class": None}}
    lines = prediction_lines({**DOCUMENT, "site": "north", "labels": labels, "predictions": [row | {"ct": None}]})
    assert lines[1] == "Thresholds and test are those of north."
    assert lines[-2] == "* enlarged cardiomediastinum  0.999      0.500  0.800 (0.700 to 0.900)        30"
    assert max(map(len, lines)) == 80


def test_a_probability_just_below_its_threshold_is_not_shown_equal_to_it():
    predicted = {"findings": ["Mass"], "cancer_class": "normal", "cancer_above_threshold": []}
    row = {**PREDICTION, "disease": {"Effusion": 0.29996, "Mass": 0.75}, "predicted": predicted}
    lines = prediction_lines({**DOCUMENT, "predictions": [row | {"cancer": {"normal": 0.49999, "tumour": 0.4}}]})
    assert "  Effusion  0.29996    0.30000  0.800 (0.700 to 0.900)        30" in lines
    assert "  normal  0.49999    0.50000           not tested         -" in lines
    assert lines[-1] == "  the most probable class does not reach its threshold"


@pytest.mark.parametrize("form", ["--csv", "--json"])
def test_predict_writes_for_scripts(form: str, predictor: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["predict", "run", "--xray", "x", "--ct", "s.jpg", form]) == 0
    text = capsys.readouterr().out
    if form == "--csv":
        assert text == (
            "xray,ct,Effusion,Mass,normal,tumour,predicted_findings,predicted_class,flags,notice\n"
            "x/b.png,s.jpg,0.25,0.75,0.9,0.1,Mass,normal,xray inverted,Not a medical device.\n"
        )
    else:
        assert json.loads(text) == {"model": "run/model/best.keras", **DOCUMENT}


def test_predict_names_what_it_skipped_answers_the_rest_and_exits_with_2(
    predictor: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = {"xray": "x/a/c.JPG", "ct": "s.jpg", "reasons": ["x/a/c.JPG: is empty (0 bytes)"]}
    document = {**DOCUMENT, "skipped": [skipped]}
    _stand_in(monkeypatch, "fedthorax.common.release.predict", predict_files=lambda *_: document)
    assert cli.run(["predict", "run", "--xray", "x", "--ct", "s.jpg"]) == 2
    output = capsys.readouterr()
    assert output.err == "skipped: x/a/c.JPG: is empty (0 bytes)\n1 of 2 not answered\n"
    assert "x/b.png" in output.out


def test_no_star_beside_a_threshold_that_is_not_reached() -> None:
    below = {"findings": [], "cancer_class": "normal", "cancer_above_threshold": []}
    document = {**DOCUMENT, "predictions": [{**PREDICTION, "predicted": below}]}
    lines = prediction_lines(document)
    assert not any("*" in line for line in lines)
    assert lines[-1] == "  the most probable class does not reach its threshold"


@pytest.mark.parametrize("given", ["~/x/b.png", "~/x"])
def test_a_quoted_tilde_is_the_home_folder(given: str, predictor: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert cli.run(["predict", "~/run", "--xray", given, "--ct", "s.jpg"]) == 0
    assert predictor[0][0] == Path.cwd() / "run/model/best.keras"
    assert ImageRef(Path.cwd() / "x/b.png") in predictor[0][1]


def test_report_writes_again_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.json").touch()
    calls: list[Path] = []
    _stand_in(monkeypatch, "fedthorax.common.report", write_report=calls.append)
    assert cli.run(["report", str(tmp_path)]) == 0
    assert calls == [tmp_path]
    assert capsys.readouterr().out == f"report: {tmp_path / 'report.html'}\n"


def test_phantom_draws_once_and_leaves_what_is_current_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["phantom", "data/tiny", "--hospitals", "1", "--patients", "4", "--size", "32", "--if-needed"]
    assert cli.run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "wrote data/tiny"
    assert lines[1].split() == ["patients", "X-rays", "CT", "slices", "patients", "with", "both"]
    assert [line.split()[0] for line in lines[2:5]] == ["north", "central/valid", "central/test"]
    assert lines[6].split() == ["X-rays", "with", "north", "valid", "test"]
    assert lines[-1] == "plot: data/tiny/sites.png"
    assert cli.run(arguments) == 0
    assert capsys.readouterr().out == "already there: data/tiny\n"
    assert cli.run([*arguments, "--seed", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] is True
    assert cli.run(arguments[:-1]) == 1
    assert "data/tiny is not empty" in capsys.readouterr().err


def test_partition_deals_a_phantom_hospital_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["phantom", "one", "--hospitals", "1", "--patients", "12", "--size", "32"]) == 0
    capsys.readouterr()
    command = ["partition", "parts", "--xray", "one/north/xray", "--ct", "one/north/ct", "--hospitals", "a,b"]
    assert cli.run([*command, "--sizes", "2,1", "--json"]) == 0
    sites = json.loads(capsys.readouterr().out)["sites"]
    assert list(sites) == ["a", "b"]
    assert sites["a"]["patients"] > sites["b"]["patients"] > 0
    assert len(list(Path("parts").rglob("*/*.png"))) == sum(s["xrays"] + s["ct_slices"] for s in sites.values())


def test_notes_of_a_partition_are_broken_between_words_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = f"left out: {'some words about files ' * 6}".strip()
    summary = SimpleNamespace(sites={}, notes=(note,), num_images=3)
    monkeypatch.setattr("fedthorax.simulations.partition.partition", lambda plan, progress: summary)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run(["partition", "parts", "--xray", "."]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert f"note: {note}" in " ".join(lines)
