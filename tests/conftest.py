"""What every test gets."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()  # before any test imports TensorFlow, Flower or Ray

ROOT = Path(__file__).resolve().parents[1]

EXPERIMENT = """\
name: tiny
labels:
  findings: [Effusion, Mass]
  cancer_classes: [normal, tumour]
data:
  hospitals:
    north: {xray: data/north/xray, ct: data/north/ct}
    st.mary: {xray: data/mary/xray, ct: data/mary/ct}
  central: {xray: data/central/xray, ct: data/central/ct}
training:
  phases: [{rounds: 2, trainable: heads}]
"""


@pytest.fixture
def real_data() -> Path:
    """The folder of real images; the test is skipped, saying so, where it is missing."""
    folder = Path(os.environ.get("FEDTHORAX_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set FEDTHORAX_REAL_DATA")
    return folder


@pytest.fixture
def experiment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes an experiment file into the test's own working directory; without text a small valid one."""
    monkeypatch.chdir(tmp_path)

    def write(text: str = EXPERIMENT) -> Path:
        Path("tiny.yaml").write_text(text, encoding="utf-8")
        return Path("tiny.yaml")

    return write


@pytest.fixture
def fedthorax_command() -> list[str]:
    """The command line in a process of its own, as a person starts it."""
    return [sys.executable, "-m", "fedthorax.cli.main"]
