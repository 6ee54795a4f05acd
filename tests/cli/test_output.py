"""A place that takes no file is named before the work, not after it."""

from pathlib import Path

import pytest

from fedthorax.cli import main as cli
from fedthorax.cli.output import require_place

COMMANDS = {
    "check --html": ("check", "images", "--html"),
    "check --fix-splits": ("check", "images", "--fix-splits"),
    "look --out": ("look", "images", "--out"),
    "report --compare": ("report", "--compare", "run", "run", "--out"),
    "stats --html": ("stats", "tiny.yaml", "--html"),
    "predict --maps": ("predict", "model.keras", "--xray", "images", "--maps"),
    "export --out": ("export", "model.keras", "--to", "tflite", "--out"),
    "partition": ("partition", "--xray", "images"),
}


@pytest.fixture
def inputs(tmp_path, monkeypatch, experiment_file):
    """Enough to get past the look at what is there; none of it can be worked on."""
    monkeypatch.chdir(tmp_path)
    experiment_file()
    for name in ("images", "run"):
        (tmp_path / name).mkdir()
    for name in ("model.keras", "run/metrics.json", "file"):
        (tmp_path / name).write_text("")


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_looks_at_the_place_that_it_is_to_write_first(capsys, command):
    assert cli.run([*COMMANDS[command], "file/below"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("error: file/below")
    assert output.out == ""


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize(
    ("place", "makes_folders", "words"),
    [
        ("none/page.html", False, "^none/page.html: the folder none does not exist; make it first$"),
        ("file/page.html", True, "^file/page.html: the folder file is a file$"),
        ("images", False, "^images: is a folder; name the file to write$"),
        ("/proc/page.html", False, "^/proc/page.html: the folder /proc takes no file: "),  # of root either
    ],
)
def test_a_place_that_takes_no_file_is_named_with_what_to_do(place, makes_folders, words):
    with pytest.raises(OSError, match=words):
        require_place(Path(place), makes_folders)


@pytest.mark.usefixtures("inputs")
def test_a_place_that_takes_one_is_left_as_it_was(tmp_path):
    before = sorted(tmp_path.rglob("*"))
    require_place(tmp_path / "page.html")
    require_place(tmp_path / "new" / "deep" / "map.png", makes_folders=True)
    require_place(None)
    assert sorted(tmp_path.rglob("*")) == before
