"""``fedthorax leakage`` and ``fedthorax site leakage``: what they attack, and where the answer goes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedthorax.cli import leakage as command
from fedthorax.cli.main import run
from fedthorax.common.config.load import load_experiment
from fedthorax.common.record.run_folder import RunFolder

SITE = "name: north\nconsortium: lungs\nserver: host:1\nxray: xray\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would be attacked."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(command, "attack", lambda *of: found.append(of))
    return found


def folders(path: Path) -> None:
    for name in ("north", "mary", "central"):
        for kind in ("xray", "ct"):
            (path / "data" / name / kind).mkdir(parents=True)


def test_a_file_is_attacked_as_it_would_be_trained(
    experiment_file: Callable[[str], Path], tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    folders(tmp_path)
    text = "model: {weights: none, batch_norm: train}\n"
    experiment_file()
    file = Path("tiny.yaml")
    file.write_text(file.read_text().replace("{rounds: 2, trainable: heads}", "{rounds: 2, trainable: all}") + text)
    assert run(["leakage", "tiny.yaml", "--name", "other", "--canaries", "5"]) == 0
    (experiment, sites, folder, model, canaries, as_json) = asked[0]
    assert experiment.data.hospitals["north"].xray.folder.is_absolute()
    assert (sites, folder) == (["north", "st.mary", "central"], tmp_path / "runs" / "other-leakage")
    assert (model, canaries, as_json) == (None, 5, False)


def test_a_run_is_attacked_as_it_is(
    experiment_file: Callable[[str], Path], tmp_path: Path, asked: list[tuple[Any, ...]], capsys: Any
) -> None:
    folders(tmp_path)
    experiment = load_experiment(experiment_file())
    with RunFolder.create(tmp_path / "runs" / "mine") as made:
        made.write_config(experiment, {})
        made.metrics.write_text("{}")
    assert run(["leakage", "runs/mine"]) == 0
    assert asked[0][2:4] == (Path("runs/mine-leakage"), Path("runs/mine/model/best.keras"))
    assert run(["leakage", "runs/mine", "--set", "seed=2"]) == 1
    assert "--set and --name are for experiment files" in capsys.readouterr().err


def test_a_hospital_attacks_with_its_own_images_and_keeps_the_answer(
    experiment_file: Callable[[str], Path], tmp_path: Path, asked: list[tuple[Any, ...]], capsys: Any
) -> None:
    experiment = load_experiment(experiment_file())
    model = experiment.model.model_copy(update={"weights": "received", "absent": "token"})
    (tmp_path / "site.yaml").write_text(SITE)
    path = tmp_path / "results" / "lungs"
    with RunFolder.create(path) as made:
        made.write_config(experiment.model_copy(update={"model": model}), {})
        made.metrics.write_text("{}")
        (path / "report.html").write_text("")
    (path / "delivery.json").write_text(json.dumps({"run": "f00d", "hospital": "north"}))
    for named in ("lungs", "f00d"):
        assert run(["site", "leakage", named]) == 0
    (mine, sites, folder, best, *_) = asked[1]
    assert sites == ["north"]
    assert mine.data.central is None
    assert mine.data.hospitals["north"].xray.folder == tmp_path / "xray"
    assert (folder, best) == (tmp_path / "results" / "lungs-leakage", path / "model" / "best.keras")
    assert run(["site", "leakage", "elsewhere"]) == 1
    assert "no finished run 'elsewhere' here" in capsys.readouterr().err
