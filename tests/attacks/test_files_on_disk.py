"""Another user of the same machine, at a hospital, at a lead, and where somebody simulates."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedthorax.cli import main as cli
from fedthorax.client.site import supervisor
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.setup import init_site
from fedthorax.common.ground.events import EventLog
from fedthorax.common.ground.owner_only import tighten
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium, open_consortium

LOOK = """
import json, os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
reached = []
def attempt(path, action):
    try:
        action()
        reached.append(path)
    except OSError:
        pass
for path in json.load(sys.stdin):
    attempt(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
    attempt(path + " to write", lambda: open(path + ("/new" if os.path.isdir(path) else ""), "ab"))
print(json.dumps(reached))
"""


def reached_by_another_user(folder: Path) -> list[str]:
    """What of ``folder`` a user without any right can list, read or write, whether or not he finds it by himself."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    paths = [str(path) for path in (folder, *folder.rglob("*"))]
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOOK], input=json.dumps(paths), capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that everybody reaches; pytest's own is closed above, and would make every look vain."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def lead(open_place: Path) -> ConsortiumFolder:
    (open_place / "c.yaml").write_text("name: thorax\naddress: 127.0.0.1:8443\n")
    return create_consortium(open_place / "c.yaml", open_place / "thorax")


def test_the_look_sees_what_is_open(open_place: Path) -> None:
    (open_place / "open.txt").write_text("x")
    (open_place / "closed.txt").write_text("x")
    (open_place / "closed.txt").chmod(0o600)
    assert reached_by_another_user(open_place) == [str(open_place), str(open_place / "open.txt")]


def test_of_a_leads_folder_nothing_is_reached(lead: ConsortiumFolder) -> None:
    (lead.path / "superlink.db").write_text("as Flower makes it")
    (lead.runs / "chest").mkdir()
    with EventLog(lead.runs / "chest" / "events.jsonl") as events:
        events.emit("note", text="a patient's file name")
    assert reached_by_another_user(lead.path) == []


def test_a_folder_that_was_there_before_is_closed_too(open_place: Path) -> None:
    (open_place / "c.yaml").write_text("name: thorax\naddress: 127.0.0.1:8443\n")
    (open_place / "volume").mkdir(mode=0o755)
    assert reached_by_another_user(create_consortium(open_place / "c.yaml", open_place / "volume").path) == []


def test_of_a_hospitals_folder_nothing_is_reached(lead: ConsortiumFolder, open_place: Path) -> None:
    for name in ("xray", "ct"):
        (open_place / name).mkdir()
    made = init_site("north", open_place / "xray", open_place / "ct", lead.invitation, open_place / "north")
    (made.folder.run / "events.jsonl").write_text("a patient's file name")
    (made.folder.results / "chest").mkdir()
    (made.folder.results / "chest" / "best.keras").write_text("a model")
    assert reached_by_another_user(made.folder.path) == []


def test_a_folder_of_an_earlier_version_is_closed_when_it_is_served_and_what_is_public_stays_so(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o755)
    for name in ("site.yaml", "ca.crt", "run/events.jsonl"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o664)
    tighten(tmp_path, [tmp_path / "ca.crt"])
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path, *tmp_path.rglob("*"))}
    assert modes == {tmp_path.name: 0o700, "run": 0o700, "events.jsonl": 0o600, "site.yaml": 0o600, "ca.crt": 0o644}


def test_closing_a_folder_follows_no_link_and_opens_nothing(tmp_path: Path) -> None:
    """What lies there may have been put there by whoever could write in it before."""
    (tmp_path / "folder").mkdir(mode=0o777)
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o666)
    (tmp_path / "folder" / "link").symlink_to(outside)
    (tmp_path / "folder" / "ca.crt").write_text("a secret under a public name")
    (tmp_path / "folder" / "ca.crt").chmod(0o600)
    os.mkfifo(tmp_path / "folder" / "log", 0o666)
    (tmp_path / "folder" / "log").chmod(0o666)
    tighten(tmp_path / "folder", [tmp_path / "folder" / "ca.crt", tmp_path / "folder" / "link"])
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666
    assert stat.S_IMODE((tmp_path / "folder" / "ca.crt").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "folder" / "log").lstat().st_mode) == 0o600


def test_a_worker_gets_nothing_by_a_link_that_it_laid(tmp_path: Path) -> None:
    """`site start` runs as root and gives the worker's folders to the worker's user, who wrote them before."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    (tmp_path / "state" / "replies").mkdir(parents=True)
    for name in ("state/own", "state/replies/own", "secret", "other"):
        (tmp_path / name).write_text("x")
    (tmp_path / "state" / "soft").symlink_to(tmp_path / "secret")
    (tmp_path / "state" / "hard").hardlink_to(tmp_path / "other")
    supervisor._chown_all(tmp_path / "state", "nobody")
    owners = {str(p.relative_to(tmp_path)): p.stat().st_uid for p in tmp_path.rglob("*") if not p.is_symlink()}
    assert {name for name, user in owners.items() if user != 0} == {
        "state",
        "state/own",
        "state/replies",
        "state/replies/own",
    }


def test_whoever_opens_one_of_the_two_folders_makes_private_files_only(lead: ConsortiumFolder, tmp_path: Path) -> None:
    for number, opening in enumerate((lambda: open_consortium(lead.path), lambda: SiteFolder(tmp_path).make())):
        os.umask(0)
        opening()
        (tmp_path / str(number)).write_text("x")
        assert stat.S_IMODE((tmp_path / str(number)).stat().st_mode) == 0o600


@pytest.mark.slow
def test_what_a_simulation_keeps_for_its_time_is_not_for_others(tmp_path: Path) -> None:
    """Ray makes its own folder everybody's to write in, and beside it lay the key of the duplicates."""
    program = """
import json, os, sys
from pathlib import Path
from fedthorax.common.config.load import load_experiment
from fedthorax.simulations.flower_runtime import on_flower
def serve(channel):
    key = Path(os.environ["FEDTHORAX_DUPLICATE_KEY"])
    return [oct(path.stat().st_mode & 0o777) for path in (key.parent, key)]
print(json.dumps(on_flower(load_experiment(Path(sys.argv[1])), None, serve)))
"""
    experiment = tmp_path / "tiny.yaml"
    experiment.write_text(
        "name: tiny\nlabels: {findings: [Mass], cancer_classes: [a, b]}\n"
        "data: {hospitals: {north: {xray: x, ct: c}, south: {xray: x, ct: c}}, central: {xray: x, ct: c}}\n"
        "training: {phases: [{rounds: 1, trainable: heads}]}\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(experiment)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["0o700", "0o600"]


def test_the_check_of_a_hospital_prints_no_password(
    lead: ConsortiumFolder, open_place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("xray", "ct"):
        (open_place / name).mkdir()
    made = init_site("north", open_place / "xray", open_place / "ct", lead.invitation, open_place / "north")
    settings = made.folder.settings
    proxy = "http://user:secret-word@127.0.0.1:9"
    settings.write_text(settings.read_text().replace("https_proxy: null", f"https_proxy: {proxy}"))
    assert cli.run(["site", "check", "--folder", str(made.folder.path)]) == 2
    said = capsys.readouterr()
    assert "through http://127.0.0.1:9" in said.out
    assert "secret-word" not in said.out + said.err
