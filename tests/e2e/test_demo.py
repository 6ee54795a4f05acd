"""What README shows of the demo is what the demo prints, at full size."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(folder: Path, command: str) -> str:
    arguments = [sys.executable, "-m", "fedthorax.cli.main", *shlex.split(command)[1:]]
    done = subprocess.run(
        arguments, cwd=folder, env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def shape(text: str) -> list[str]:
    """Lines without their numbers and without the order in which hospitals happened to answer."""
    return [re.sub(r"[\d.]+", "#", re.sub(r"\s+", " ", line)).strip() for line in text.splitlines()]


@pytest.mark.slow
def test_the_demo_prints_what_readme_shows(tmp_path: Path) -> None:
    """As printed, at full size; numbers differ between processors, but its two intervals lie above 0.6 everywhere."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    printed = run(tmp_path, "fedthorax phantom data/demo --if-needed")
    printed += run(tmp_path, "fedthorax simulate configs/demo.yaml --overwrite")
    shown = re.search(r"\$ make demo\n(.*?)\n```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert shown is not None
    assert [line for line in shape(shown[1]) if line != "#" and line not in shape(printed)] == []
    for name in ("X-ray findings", "CT classes"):
        interval = re.search(rf"{name}, macro ROC-AUC +[\d.]+ +\(([\d.]+) to", printed)
        assert interval is not None
        assert float(interval[1]) > 0.6
