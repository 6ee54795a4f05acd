"""What Flower carries to a hospital: the code, and nothing that lies beside it."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("fedthorax", "server", "client", "common", "simulations", "configs")
BESIDE = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the sources with what must never travel lying among them."""
    copy = tmp_path / "checkout"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, copy / name)
    for stray in (
        "data/north/labels.json",
        "data/north/patients.yaml",
        "runs/demo/metrics.json",
        "runs/demo/config.yaml",
        "tests/conftest.py",
        "docs/metrics.md",
        "notes.md",
        "common/data/chest.png",
        "common/data/patients.csv",
        "client/key.pem",
        "server/best.keras",
    ):
        (copy / stray).parent.mkdir(parents=True, exist_ok=True)
        (copy / stray).write_text("", encoding="utf-8")
    return copy


def test_the_bundle_holds_the_six_folders_and_no_data_no_tests_no_images(checkout: Path) -> None:
    from flwr.cli.build import build_fab_from_disk

    names = set(zipfile.ZipFile(io.BytesIO(build_fab_from_disk(checkout))).namelist())
    sources = {p.relative_to(ROOT).as_posix() for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")}
    configs = {p.relative_to(ROOT).as_posix() for p in (ROOT / "configs").glob("*.yaml")}
    assert configs
    assert names - {".info/CONTENT"} == sources | configs | {"pyproject.toml", "README.md", "LICENSE"}


def test_no_link_of_the_project_leads_out_of_it() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    links = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_symlink()]
    assert links, "typings/fedthorax is one"
    assert [link for link in links if not (link.exists() and link.resolve().is_relative_to(ROOT))] == []


def test_flower_finds_both_entry_points_without_importing_the_apps(checkout: Path) -> None:
    """Flower reads the source of the two entry files and looks for a plain ``app``."""
    from flwr.supercore.object_ref import validate

    for name in ("server_app", "client_app"):
        valid, reason = validate(f"fedthorax.{name}:app", check_module=True, project_dir=checkout)
        assert valid, reason
