"""``fedthorax check`` as a person or a script calls it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedthorax.cli import main as cli
from fedthorax.common.config.load import load_experiment
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.issues.issue import CODES

Captured = pytest.CaptureFixture[str]


def draw(path: Path, seed: int) -> None:
    """A disc in black air, with a texture of its own for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    texture = np.random.default_rng(seed).normal(0, 1, (12, 12)).astype(np.float32)
    grey = 140 + 40 * np.asarray(Image.fromarray(texture).resize((64, 64), Image.Resampling.BICUBIC))
    Image.fromarray(np.where(x**2 + y**2 < 0.7, np.clip(grey, 20, 250), 2).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six slices of six patients; the last in test is a copy of the first in train."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        split, name = ("train", "test")[number // 3], ("normal", "tumour")[number % 2]
        draw(tmp_path / f"ct/{split}/{name}/p{number}__1.png", number)
    return tmp_path / "ct"


def copy_across(folder: Path) -> None:
    (folder / "test/tumour/p5__1.png").write_bytes((folder / "train/normal/p0__1.png").read_bytes())


def test_good_data_end_with_0_and_say_so(folder: Path, capsys: Captured) -> None:
    assert cli.run(["check", "ct"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "Nothing found. A run takes these data."
    assert "CT slices: 6 images, 6 patients; split: train 3, test 3" in out


def test_images_without_labels_are_not_called_ready_for_a_run(folder: Path, capsys: Captured) -> None:
    loose = folder.with_name("loose")
    loose.mkdir()
    (folder / "train/normal/p0__1.png").rename(loose / "1.png")
    assert cli.run(["check", "loose"]) == 0
    assert "A run needs labels too" in capsys.readouterr().out
    assert cli.run(["check", "loose", "--html", "page.html"]) == 0
    assert "A run needs labels too" in Path("page.html").read_text()


def test_errors_end_with_2_within_80_columns(folder: Path, capsys: Captured) -> None:
    copy_across(folder)
    assert cli.run(["check", "ct"]) == 2
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "ERROR  duplicate-across-splits: The same picture on two sides of the split" in out
    assert "    = train/normal/p0__1.png" in out


def test_warnings_end_with_1_only_if_strict(folder: Path) -> None:
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(folder / "test/tumour/p5__1.png")
    assert cli.run(["check", "ct"]) == 0
    assert cli.run(["check", "ct", "--strict"]) == 1


def test_an_error_that_the_experiment_accepts_is_called_so_and_ends_with_0(
    folder: Path, experiment_file: Callable[..., Path], capsys: Captured
) -> None:
    copy_across(folder)
    (folder / "train/normal/p2__1.png").write_bytes(b"no image")
    (folder.parent / "xray").mkdir()
    text = experiment_file().read_text(encoding="utf-8").replace("data/north/", "")

    def checked(*more: str, settings: str) -> int:
        experiment_file(text.replace("data:", f"data:\n  {settings}", 1))
        return cli.run(["check", "tiny.yaml", "--site", "north", *more])

    copies = "accept: [duplicate-across-splits, duplicate-different-labels]"
    assert checked(settings=copies) == 2
    assert "1 error, 2 accepted errors, 0 warnings" in capsys.readouterr().out
    assert checked(settings=f"{copies}\n  on_bad_file: skip") == 0
    out = capsys.readouterr().out
    assert "ACCEPTED ERROR  duplicate-across-splits: The same picture" in out
    assert "  -> The experiment accepts it." in out
    assert " ".join(out.split()).endswith(
        "0 errors, 3 accepted errors, 0 warnings, 1 note. A run takes these data: the experiment accepts the errors, "
        "and its report will name them."
    )
    assert checked("--strict", settings=f"{copies}\n  on_bad_file: skip") == 1
    capsys.readouterr()
    assert checked("--json", "--html", "page.html", settings=f"{copies}\n  on_bad_file: skip") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["levels"] == {"error": 0, "accepted error": 3, "warning": 0, "note": 1}
    assert [finding["level"] for finding in document["sites"][0]["findings"]] == ["accepted error"] * 3 + ["note"]
    assert "3 accepted errors" in Path("page.html").read_text()


def test_a_table_that_cannot_be_read_is_an_error_whatever_is_accepted(
    folder: Path, experiment_file: Callable[..., Path], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("labels.csv may not be read")

    (folder.parent / "xray").mkdir()
    text = experiment_file().read_text(encoding="utf-8").replace("data/north/", "")
    experiment_file(text.replace("data:", "data:\n  on_bad_file: skip", 1))
    monkeypatch.setattr("fedthorax.common.hospital.scan.xray_records", refuse)
    assert cli.run(["check", "tiny.yaml", "--site", "north"]) == 2
    assert "ERROR  file-no-permission" in capsys.readouterr().out


def test_json_lists_code_level_count_and_files_of_each_finding(folder: Path, capsys: Captured) -> None:
    copy_across(folder)
    assert cli.run(["check", "ct", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    (site,) = document["sites"]
    assert {finding["code"]: finding["level"] for finding in site["findings"]} == {
        "duplicate-across-splits": "error",
        "duplicate-different-labels": "error",
    }
    finding = site["findings"][0]
    assert finding["count"] == 1
    assert finding["files"] == ["test/tumour/p5__1.png"]
    assert finding["groups"] == [["test/tumour/p5__1.png", "train/normal/p0__1.png"]]
    assert site["counts"]["ct"]["splits"]["train"] == {"images": 3, "patients": 3}
    assert site["images_decoded"] == 6


def test_the_second_check_decodes_nothing_unless_the_cache_is_off(folder: Path, capsys: Captured) -> None:
    decoded = []
    for options in ([], [], ["--no-cache"]):
        cli.run(["check", "ct", "--json", *options])
        decoded.append(json.loads(capsys.readouterr().out)["sites"][0]["images_decoded"])
    assert decoded == [6, 0, 6]


def test_training_refuses_copies_across_splits_and_takes_the_fixed_split(
    folder: Path, experiment_file: Callable[..., Path], capsys: Captured
) -> None:
    (folder / "train/normal/p1__2.png").write_bytes((folder / "test/normal/p4__1.png").read_bytes())
    (folder.parent / "xray").mkdir()
    file = experiment_file().read_text(encoding="utf-8").replace("{xray: data/north/xray, ct: data/north/ct}", "NORTH")
    plain, fixed = "{xray: xray, ct: ct}", "{xray: xray, ct: ct, splits: splits.csv}"

    def load(north: str, *overrides: str) -> dict[str, tuple[str, ...]]:
        path = experiment_file(file.replace("NORTH", north))
        experiment = load_experiment(path, overrides)
        site = load_hospital(experiment, "north")
        return {split: tuple(path.name for path in images.ct.paths) for split, images in site.splits.items()}

    with pytest.raises(ValueError, match=r"north: the check finds errors .*set data\.accept to \[duplicate-across-spl"):
        load(plain)
    assert load(plain, "data.accept=[duplicate-across-splits]")["test"] == ("p4__1.png", "p3__1.png", "p5__1.png")

    experiment_file(file.replace("NORTH", plain))
    assert cli.run(["check", "tiny.yaml", "--site", "north", "--fix-splits", "splits.csv"]) == 2
    assert "wrote splits.csv: 7 images" in capsys.readouterr().err
    assert load(fixed)["test"] == ("p3__1.png", "p5__1.png")
    experiment_file(file.replace("NORTH", fixed))
    assert cli.run(["check", "tiny.yaml", "--site", "north"]) == 0


def test_a_split_is_of_one_site(folder: Path, experiment_file: Callable[..., Path], capsys: Captured) -> None:
    experiment_file()
    assert cli.run(["check", "tiny.yaml", "--fix-splits", "splits.csv"]) == 1
    assert "error: --fix-splits: a split is one site's; name one of north" in capsys.readouterr().err


def test_the_page_says_that_it_must_stay(folder: Path, capsys: Captured) -> None:
    assert cli.run(["check", "ct", "--html", "check.html"]) == 0
    assert "must stay at the hospital" in capsys.readouterr().err
    assert (folder.parent / "check.html").stat().st_mode & 0o777 == 0o600


def test_an_unknown_code_to_accept_gets_a_suggestion(experiment_file: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match=r"'duplicates-across-split' is no error of the check; did you mean dupli"):
        load_experiment(experiment_file(), ["data.accept=[duplicates-across-split]"])
    with pytest.raises(ValueError, match="'shortcut' is no error of the check"):
        load_experiment(experiment_file(), ["data.accept=[shortcut]"])


def test_what_no_run_can_go_on_with_is_not_accepted(experiment_file: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="unknown-class cannot be accepted: without these labels no run can use"):
        load_experiment(experiment_file(), ["data.accept=[unknown-class]"])


def test_every_code_stands_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs/check.md").read_text(encoding="utf-8")
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning.level} |" in text
