"""What a hospital's supervisor gives to its processes, and whom it ends."""

import json
import os
import threading
import tomllib
from pathlib import Path

import pytest

from fedthorax.client.site import supervisor
from fedthorax.client.site.connection import Connection
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.supervisor import restart_supernode, site_services
from fedthorax.client.site.trust import pin
from fedthorax.common.consortium.roster import RosterFile, new_identity, public_identity
from fedthorax.common.consortium.tied import kept
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.lock import locked

from .conftest import settings

OTHER = 54321  # a user's number that nobody has
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other users")


@pytest.fixture
def folder(tmp_path: Path) -> SiteFolder:
    one = SiteFolder(tmp_path / "north")
    one.make()
    return one


def services(folder: SiteFolder, **changes):
    chosen = settings(**changes)
    return site_services(folder, chosen, Connection(chosen.server, print, threading.Event()), print)


def test_what_a_process_is_told_by_its_environment_reaches_it_under_another_user_too(folder: SiteFolder) -> None:
    ours = {name for name in os.environ if name.startswith("no_") or name.startswith("https_")}
    for service in services(folder, https_proxy="http://proxy:3128"):
        lost = set(service.environment) - set(kept(service.environment)) - {"no_proxy", "https_proxy"} - ours
        assert not lost, service.name


@pytest.mark.parametrize("name", ["St. Anna", "北京医院", "\U00020bb7田病院"])
def test_the_supernode_can_read_the_name_of_every_hospital(folder: SiteFolder, name: str) -> None:
    services(folder, name=name)
    assert tomllib.loads((folder.run / "node.toml").read_text(encoding="utf-8"))["name"] == name


def test_a_number_that_a_killed_supervisor_left_is_nobodys_to_end(folder: SiteFolder, monkeypatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(supervisor.os, "kill", lambda pid, number: ended.append(pid))
    folder.processes.write_text(json.dumps({"supervisor": 1, "supernode": 4711}))
    assert not restart_supernode(folder)
    assert ended == []
    with locked(folder.lock):
        assert restart_supernode(folder)
    assert ended == [4711]


@as_root
def test_a_link_in_the_place_of_the_key_gives_no_file_of_roots_away(folder: SiteFolder, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("root's")
    folder.private_key.symlink_to(tmp_path / "shadow")
    folder.settings.write_text("")
    users = {"supernode": "nobody"}
    supervisor._share_out(folder, settings(users=users))
    assert (tmp_path / "shadow").stat().st_uid == 0
    assert folder.keys.stat().st_uid != 0


@as_root
def test_the_supernodes_user_can_read_what_flowers_processes_know_each_other_by(folder: SiteFolder) -> None:
    folder.settings.write_text("")
    supervisor._share_out(folder, settings(users={"supernode": "nobody"}))
    secret = folder.flower / "superexec.secret"
    assert secret.stat().st_uid == folder.keys.stat().st_uid != 0


@as_root
def test_what_a_person_trusts_as_root_the_workers_user_can_read_at_once(folder: SiteFolder, tmp_path: Path) -> None:
    os.chown(folder.state, OTHER, OTHER)
    own = public_identity(new_identity(folder.identity))
    write_json(tmp_path / "roster.json", RosterFile(consortium="net", hospitals={"north": own}))
    pin(folder, settings(), tmp_path / "roster.json")
    assert (folder.identity.stat().st_uid, folder.roster.stat().st_uid) == (OTHER, OTHER)
