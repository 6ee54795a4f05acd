"""What ``pip install`` puts on a hospital's machine: one top-level name."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fedthorax import __version__

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder), "."]
    subprocess.run([sys.executable, "-m", "pip", *command], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


def test_the_wheel_has_one_top_level_name(wheel_names: list[str]) -> None:
    top = {name.split("/")[0] for name in wheel_names}
    assert top == {"fedthorax", f"fed_thorax-{__version__}.dist-info"}


def test_the_wheel_holds_the_rooms_the_types_marker_and_the_licence(wheel_names: list[str]) -> None:
    expected = {
        "fedthorax/py.typed",
        "fedthorax/cli/main.py",
        "fedthorax/common/config/load.py",
        "fedthorax/client/app.py",
        "fedthorax/server/app.py",
        "fedthorax/simulations/simulate.py",
        "fedthorax/configs/demo.yaml",
        f"fed_thorax-{__version__}.dist-info/licenses/LICENSE",
    }
    assert expected - set(wheel_names) == set()


def test_project_and_package_tell_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == __version__


def test_every_pinned_package_stands_once_with_an_exact_version_and_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    names = []
    for line in lines:
        if line.startswith("# "):
            continue
        name, sign, version = line.partition("==")
        assert sign
        assert version
        assert "/" not in line
        names.append(name)
    assert names == sorted(set(names))
