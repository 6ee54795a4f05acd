"""What every test gets."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from fedthorax.cli.quiet import quiet_libraries
from fedthorax.common.config import Experiment
from fedthorax.common.config.data import DataConfig, SourceConfig
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.config.training import PhaseConfig, TrainingConfig

quiet_libraries()  # before any test imports TensorFlow, Flower or Ray

# The same examples for everybody, whatever else the machine does; no test is timed, and no file is left.
hypothesis.settings.register_profile("fedthorax", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("fedthorax")

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


@pytest.fixture(autouse=True)
def own_mask() -> Iterator[None]:
    """What a test makes private stays the test's own."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session", autouse=True)
def tensorflow_as_in_a_run(request: pytest.FixtureRequest) -> None:
    """Threads and deterministic kernels are set before TensorFlow's first operation in this process, as in a run,
    whichever test comes first."""
    with_networks = {"algorithms", "model", "training", "release", "leakage", "server", "tracking", "client", "cli"}
    if any(item.path.parent.name in with_networks for item in request.session.items):
        from fedthorax.common.training.runtime import prepare_tensorflow

        prepare_tensorflow(2)


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
def one_hospital() -> Callable[..., Experiment]:
    """An experiment of one hospital, ``north`` unless it is ``name``d otherwise, at 32 pixels; ``data`` changes its
    data section."""

    def build(
        source: SourceConfig, labels: LabelsConfig, name: str = "north", seed: int = 0, size: int = 32, **data: Any
    ) -> Experiment:
        folders = DataConfig(hospitals={name: source}, central=None if source.lacking else source, **data)
        model = ModelConfig(image_size=size, absent="token")
        training = TrainingConfig(phases=[PhaseConfig(rounds=1, trainable="heads")])
        return Experiment(name="one", seed=seed, labels=labels, data=folders, model=model, training=training)

    return build


@pytest.fixture
def fedthorax_command() -> list[str]:
    """The command line in a process of its own, as a person starts it."""
    return [sys.executable, "-m", "fedthorax.cli.main"]


@pytest.fixture
def told() -> Callable[..., dict[str, Any]]:
    """What a hospital of the small experiment tells in statistics: 100 X-rays, no CT slice; as JSON."""

    from .told import statistics

    def answer(**counts: int | None) -> dict[str, Any]:
        return statistics(**counts).model_dump(mode="json")

    return answer


@pytest.fixture
def statistics_document(told: Callable[..., dict[str, Any]], experiment_file: Callable[[], Path]) -> dict[str, Any]:
    """Two hospitals' statistics, as the server writes them down; st.mary hides how often it sees an effusion."""
    from fedthorax.common.config.load import load_experiment
    from fedthorax.server.statistics import gather_statistics

    from .told import statistics

    answers = {"north": statistics(), "st.mary": statistics(present=None)}
    document = gather_statistics(load_experiment(experiment_file()), tuple(answers), answers).document()
    assert document["failures"] == []
    return document
