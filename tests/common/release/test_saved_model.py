"""A model on disk: what belongs together opens, what does not is refused with the reason."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.metrics.operating import LabelOperation
from fedthorax.common.release.saved_model import load_saved_model, pack

LABEL = LabelOperation(threshold=0.3, method="youden", slope=2.0, positives=20, negatives=20, reasons=("A reason.",))


def edit(folder: Path, change) -> None:
    file = folder / "model.json"
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


@pytest.mark.ci
def test_the_selected_model_brings_its_thresholds_and_its_own_test(folder: Path) -> None:
    for path in (folder, folder.parent, folder / "best.keras"):
        saved = load_saved_model(path)
        assert saved.points.disease["Mass"] == LABEL
        assert saved.points.cancer_temperature == 1.5
        mass = saved.entry["evaluation"]["disease"]["per_finding"]["Mass"]
        assert mass["roc_auc"] == {"value": 0.7, "interval": [0.6, 0.8]}


@pytest.mark.ci
def test_a_hospital_works_with_its_own_thresholds_and_its_own_test(folder: Path, tmp_path: Path) -> None:
    archive = pack(load_saved_model(folder), tmp_path / "small.zip")
    for path in (folder, archive):
        saved = load_saved_model(path, "north")
        assert saved.points.disease["Mass"].threshold == 0.1
        assert (saved.points.site, saved.points.cancer_temperature) == ("north", 3.0)
        assert saved.evaluation["disease"]["per_finding"]["Mass"]["roc_auc"]["value"] == 0.9
    east = load_saved_model(folder, "east")
    assert east.points.disease["Mass"].threshold == 0.1
    assert (east.points.cancer["normal"].threshold, east.points.cancer_temperature) == (0.3, 1.5)
    assert east.evaluation is None
    with pytest.raises(ValueError, match=r"no thresholds of the hospital 'south', only of north, east"):
        load_saved_model(folder, "south")
    with pytest.raises(ValueError, match=r"no thresholds of the hospital 'north', only of none"):
        load_saved_model(folder / "last.keras", "north")


@pytest.mark.ci
def test_another_model_of_the_run_works_with_the_fixed_threshold_and_says_so(folder: Path) -> None:
    saved = load_saved_model(folder / "last.keras")
    assert saved.points.disease_thresholds == [0.5] * 3
    assert "not the selected one" in saved.points.disease["Mass"].reasons[0]
    assert saved.entry["evaluation"] is None


@pytest.mark.ci
def test_a_packed_model_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    saved = load_saved_model(folder)
    archive = pack(saved, tmp_path / "small.zip")
    with zipfile.ZipFile(archive) as content:
        assert content.namelist() == ["model.keras", "model.json", "card.md"]
        content.extractall(tmp_path / "unpacked")
    for path in (archive, tmp_path / "unpacked"):
        again = load_saved_model(path)
        assert again.points == saved.points
        for mine, theirs in zip(saved.model.get_weights(), again.model.get_weights(), strict=True):
            assert np.array_equal(mine, theirs)


def test_a_packing_that_fails_leaves_nothing_and_names_what_was_asked_for(folder: Path, tmp_path: Path) -> None:
    saved = load_saved_model(folder)
    with pytest.raises(OSError, match=r"'[^']*/none/small\.zip'$"):
        pack(saved, tmp_path / "none/small.zip")
    saved.path.unlink()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        pack(saved, tmp_path / "small.zip")
    assert sorted(tmp_path.iterdir()) == before


def test_edited_thresholds_are_noticed(folder: Path) -> None:
    def lower(facts: dict) -> None:
        facts["models"]["best.keras"]["operating_points"]["disease"]["Mass"]["threshold"] = 0.01

    edit(folder, lower)
    with pytest.raises(ValueError, match="thresholds or scores do not belong to this model or were edited"):
        load_saved_model(folder)


def test_other_labels_are_noticed(folder: Path) -> None:
    edit(folder, lambda facts: facts["findings"].reverse())
    with pytest.raises(ValueError, match="facts_sha256 differs"):
        load_saved_model(folder)


@pytest.mark.ci
def test_the_weights_of_another_model_are_noticed(folder: Path, fresh) -> None:
    weights = fresh.layout.read()
    fresh.layout.write({"fusion": weights["fusion"] + 1})
    fresh.model.save(folder / "best.keras")
    with pytest.raises(ValueError, match="do not belong together: the weights have another hash"):
        load_saved_model(folder)


def test_the_card_of_another_model_is_noticed_and_a_note_on_the_card_is_not(folder: Path) -> None:
    card = folder / "card.md"
    card.write_text(card.read_text() + "\nSeen by the ethics board.\n")
    load_saved_model(folder)
    card.write_text("# Model card: another one\n")
    with pytest.raises(ValueError, match=r"card\.md is about another model"):
        load_saved_model(folder)


@pytest.mark.parametrize(
    ("break_it", "error", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), FileNotFoundError, "it says which findings"),
        (lambda folder: (folder / "best.keras").write_bytes(b"no"), ValueError, "is not a Keras model"),
        (lambda folder: (folder / "model.json").write_text("{"), ValueError, "is not JSON"),
        (lambda folder: edit(folder, lambda facts: facts.pop("format")), ValueError, "has format None, but this"),
        (lambda folder: edit(folder, lambda facts: facts["models"].clear()), ValueError, "does not know this file"),
    ],
)
def test_a_missing_or_damaged_part_is_named(folder: Path, break_it, error, message: str) -> None:
    break_it(folder)
    with pytest.raises(error, match=message):
        load_saved_model(folder)


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.png", b"")
    with pytest.raises(ValueError, match=r"lacks model\.keras and model\.json"):
        load_saved_model(tmp_path / "photos.zip")
    (tmp_path / "cut.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged or no zip"):
        load_saved_model(tmp_path / "cut.zip")
