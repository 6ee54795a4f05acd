"""Which test images the run of a model has found at hospitals."""

import json
from pathlib import Path

from fedthorax.common.release.evaluate import seen_in_run

from ...runs import partial_run


def test_a_model_in_its_run_folder_knows_what_was_left_out_and_one_elsewhere_does_not(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = tmp_path / "model" / "best.keras"
    assert seen_in_run(model) == frozenset()
    left_out = [{"file": "test/a.png", "split": "test", "modality": "ct", "same_as_site": "north"}]
    document = partial_run(central={"left_out": left_out})
    (tmp_path / "metrics.json").write_text(json.dumps(document), encoding="utf-8")
    assert seen_in_run(model) == {("ct", "test/a.png")}
    assert seen_in_run(tmp_path / "copy.keras") == frozenset()
