"""The server's own images: what is left out of the test, and what it would have done to the scores."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.training import final_scores
from fedthorax.common.training.scoring import Predictions
from fedthorax.server.central import CentralData

LABEL = LabelOperation(threshold=0.5, method="youden", slope=2.0, positives=20, negatives=20)
POINTS = OperatingPoints(
    site="central",
    split="valid",
    disease=dict.fromkeys(("Effusion", "Mass"), LABEL),
    cancer=dict.fromkeys(("normal", "tumour"), LABEL),
)
ACCEPT = ["data.accept=[duplicate-across-splits]"]


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


@pytest.fixture
def experiment(experiment_file: Callable[..., Path]) -> Callable[..., Experiment]:
    """Three test slices, of which ``copies`` are those of validation; two test X-rays."""

    def write(copies: int = 0, *overrides: str) -> Experiment:
        rows = ["file,patient_id,Effusion,Mass,split"]
        for number in range(4):
            draw(Path(f"data/central/xray/{number}.png"), number)
            rows.append(f"{number}.png,p{number},{number % 2},0,{'valid' if number < 2 else 'test'}")
        Path("data/central/xray/labels.csv").write_text("\n".join(rows), encoding="utf-8")
        for number in range(3):
            draw(Path(f"data/central/ct/valid/normal/v{number}__1.png"), 100 + number)
            seed = (100 if number < copies else 200) + number
            draw(Path(f"data/central/ct/test/normal/t{number}__1.png"), seed)
        (Path("data/central/ct/valid/tumour")).mkdir(exist_ok=True)
        return load_experiment(experiment_file(), ["model.image_size=32", *overrides])

    return write


def test_what_hospitals_hold_and_what_selects_the_model_is_left_out(experiment: Callable[..., Experiment]) -> None:
    central = CentralData(experiment(1, *ACCEPT))
    # Positions: two X-rays, then three slices; the first slice is a copy of one in validation.
    central.leave_out({"north": [0, 3]})
    assert [(entry["file"], entry["same_as_site"]) for entry in central.left_out] == [
        ("2.png", "north"),
        ("test/normal/t0__1.png", "central"),
        ("test/normal/t1__1.png", "north"),
    ]
    assert (len(central.test.xray), len(central.test.ct)) == (1, 1)
    assert central.describe()["check"] == [
        {"code": "duplicate-across-splits", "level": "error", "modality": "ct", "count": 1}
    ]


@pytest.mark.parametrize(
    ("copies", "told", "expected"),
    [
        (1, {}, {"disease": "clean", "cancer": "with copies"}),
        (0, {"north": [0]}, {"disease": "with copies", "cancer": "clean"}),
    ],
)
def test_the_second_score_counts_them_and_leaves_the_other_modality_alone(
    experiment: Callable[..., Experiment],
    monkeypatch: pytest.MonkeyPatch,
    copies: int,
    told: dict[str, list[int]],
    expected: dict[str, str],
) -> None:
    scored = []

    def scores_of(network: Any, split: Any, predictions: Predictions, *rest: Any) -> dict[str, Any]:
        scored.append((len(split.xray), len(split.ct)))
        assert predictions.disease[0, 0] < 0.4  # calibrated, as the scores without copies are
        return {"loss": 1.0, "disease": "with copies", "cancer": "with copies"}

    raw = Predictions(np.full((2, 2), 0.4), np.full((3, 2), 0.5))
    monkeypatch.setattr(final_scores, "predict", lambda *rest, **more: (raw, {}))
    monkeypatch.setattr(final_scores, "scores_of", scores_of)
    central = CentralData(experiment(copies, *ACCEPT))
    central.leave_out(told)
    network = SimpleNamespace(experiment=experiment(0))
    clean = {"disease": "clean", "cancer": "clean"}
    assert central.test_with_duplicates(clean, network, None, POINTS) == expected
    assert scored == [(len(central.images.splits["test"].xray), len(central.images.splits["test"].ct))]


def test_without_copies_there_is_no_second_score(experiment: Callable[..., Experiment]) -> None:
    central = CentralData(experiment(0))
    central.leave_out({"north": []})
    assert central.left_out == []
    assert central.test_with_duplicates({}, None, None, POINTS) is None


def test_copies_across_the_servers_own_splits_are_refused_unless_accepted(
    experiment: Callable[..., Experiment],
) -> None:
    with pytest.raises(ValueError, match=r"^central: the check finds errors .* data\.accept to \[duplicate-across-sp"):
        CentralData(experiment(1))
