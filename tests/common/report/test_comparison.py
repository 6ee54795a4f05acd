"""Two runs on the same test images, from the files that they left."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report.comparison import setting_rows, write_comparison

from ...runs import partial_run

FINDINGS, CLASSES = ("Mass", "Hernia"), ("normal", "tumour")


def write_run(folder: Path, skill: float, images: int = 120, rate: float = 1e-4, findings=FINDINGS) -> Path:
    """A run of which only what a comparison reads is there; ``skill`` is how well it sees Mass."""
    rng = np.random.default_rng(1)
    experiment = Experiment.model_validate(
        {
            "name": folder.name,
            "labels": {"findings": findings, "cancer_classes": CLASSES},
            "data": {"hospitals": {"north": {"xray": "x", "ct": "c"}}, "central": {"xray": "cx", "ct": "cc"}},
            "training": {"phases": [{"rounds": 2, "trainable": "heads", "learning_rate": rate}]},
        }
    )
    names = [*findings, *CLASSES]
    header = ["modality", "file", "patient_id", *(f"{k}:{n}" for n in names for k in ("truth", "probability"))]
    with RunFolder.create(folder) as run:
        run.write_config(experiment, {})
        labels = {"findings": list(findings), "cancer_classes": list(CLASSES)}
        run.metrics.write_text(json.dumps(partial_run(labels=labels, status="finished", best_round=2)))
        with run.test_predictions.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(header)
            for number in range(images):
                mass, hernia, tumour, noise = number % 2, int(number < 3), number % 3 == 0, rng.random()
                p = skill * mass + (1 - skill) * noise
                writer.writerow(["xray", f"{number}.png", f"p{number}", mass, p, hernia, 0.5, "", "", "", ""])
                q = 0.6 * tumour + 0.4 * noise
                writer.writerow(
                    ["ct", f"{number}.png", f"p{number}", *[""] * 4, int(not tumour), 1 - q, int(tumour), q]
                )
    return folder


def test_the_better_model_is_named_with_interval_and_corrected_p(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "weak", 0.1), write_run(tmp_path / "strong", 0.4, rate=1e-3)]
    text = write_comparison(runs, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "strong against weak" in text
    mass = next(row for row in text.split("<tr") if ">Mass<" in row)
    assert 'class="best"' in mass
    assert "&lt; 0.001" in mass
    assert "60 of 120" in mass
    hernia = next(row for row in text.split("<tr") if ">Hernia*<" in row)
    assert "3 of 120" in hernia
    assert 'class="few"' in hernia
    tumours = [row for row in text.split("<tr") if ">tumour<" in row]
    assert 'class="best' not in tumours[0], "both runs see it alike"
    assert "training.phases.0.learning_rate" in text
    assert "http" not in text.replace("http-equiv", "")


def test_runs_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", 0.2)
    fewer = write_run(tmp_path / "fewer", 0.2, images=100)
    with pytest.raises(ValueError, match=r"different xray images \(120 and 100, 100 in both\)"):
        write_comparison([first, fewer], tmp_path / "c.html")
    other = write_run(tmp_path / "other", 0.2, findings=("Mass", "Edema"))
    with pytest.raises(ValueError, match="other labels than"):
        write_comparison([first, other], tmp_path / "c.html")
    (fewer / "test_predictions.csv").unlink()
    with pytest.raises(FileNotFoundError, match="the run did not end"):
        write_comparison([first, fewer], tmp_path / "c.html")
    with pytest.raises(ValueError, match="needs two runs or more, got 1"):
        write_comparison([first], tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()


def test_only_settings_that_differ_are_shown() -> None:
    rows = setting_rows([{"a": {"b": 1, "c": [1, 2]}, "d": [{"e": 1}]}, {"a": {"b": 2, "c": [1, 2]}, "d": [{"e": 1}]}])
    assert rows == [{"name": "a.b", "cells": ["1", "2"]}]
