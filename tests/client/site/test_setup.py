"""Setting a hospital up, and renewing its key."""

import os
from pathlib import Path

import pytest

from fedthorax.cli.main import run
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import Limits, load_settings
from fedthorax.client.site.setup import (
    Registered,
    init_site,
    new_key,
    renew_invitation,
    require_private_key,
    switch_key,
)
from fedthorax.client.site.supervisor import node_facts
from fedthorax.common.consortium.invitation import Invitation
from fedthorax.common.consortium.keys import public_key_text, read_private_key
from fedthorax.common.consortium.registration import read_registration
from fedthorax.common.ground.atomic_write import write_json

from .certificates import authority_pem


@pytest.fixture
def invitation(tmp_path: Path) -> Path:
    path = tmp_path / "invitation.json"
    write_json(
        path,
        Invitation(
            consortium="net", address="fl.example.org:8443", ca_certificate=authority_pem(), software_version="0.1.0"
        ),
    )
    return path


@pytest.fixture
def made(tmp_path: Path, invitation: Path) -> Registered:
    for name in ("xray", "ct"):
        (tmp_path / name).mkdir()
    return init_site("St. Anna", tmp_path / "xray", tmp_path / "ct", invitation, tmp_path / "anna")


def test_the_private_key_stays_its_owners_and_the_registration_holds_none_of_it(made: Registered) -> None:
    key = made.folder.private_key
    assert key.stat().st_mode & 0o777 == 0o600
    assert made.folder.keys.stat().st_mode & 0o777 == 0o700
    secret_lines = [line for line in key.read_text().splitlines() if "PRIVATE" not in line]
    text = made.registration.read_text()
    assert not any(line in text for line in secret_lines)
    assert read_registration(made.registration).name == "St. Anna"
    assert require_private_key(made.folder) == made.fingerprint


def test_the_settings_are_read_back_as_they_are_meant(made: Registered, tmp_path: Path) -> None:
    settings = load_settings(made.folder.settings)
    assert (settings.name, settings.consortium, settings.server) == ("St. Anna", "net", "fl.example.org:8443")
    assert (settings.participation, settings.limits) == ("ask", Limits())
    assert settings.xray.folder == tmp_path / "xray"


def test_the_clientapp_learns_how_to_reach_the_worker_and_nothing_else(made: Registered) -> None:
    facts = node_facts(made.folder, load_settings(made.folder.settings))
    assert facts == {"name": "St. Anna", "socket": str(made.folder.socket)}


def test_a_second_setup_does_not_replace_the_key(made: Registered, tmp_path: Path, invitation: Path) -> None:
    with pytest.raises(FileExistsError, match="a hospital was set up here before"):
        init_site("Other", tmp_path / "xray", tmp_path / "ct", invitation, made.folder.path)


def test_a_setup_that_a_full_disk_ended_is_brought_to_its_end_with_the_same_key(
    tmp_path: Path, invitation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fedthorax.client.site.setup.settings_text", _full)
        with pytest.raises(OSError, match="No space"):
            init_site("Anna", tmp_path, None, invitation, tmp_path / "anna")
    key = (tmp_path / "anna" / "keys" / "site.key").read_bytes()
    made = init_site("Anna", tmp_path, None, invitation, tmp_path / "anna")
    assert made.folder.private_key.read_bytes() == key
    assert require_private_key(made.folder) == made.fingerprint


def test_a_second_request_for_a_new_key_does_not_lose_the_one_that_the_lead_may_have_admitted(made: Registered) -> None:
    settings = load_settings(made.folder.settings)
    first, again = new_key(made.folder, settings), new_key(made.folder, settings)
    assert first.fingerprint == again.fingerprint == switch_key(made.folder)
    assert new_key(made.folder, settings).fingerprint != first.fingerprint


def test_a_switch_that_was_ended_can_be_made_again(made: Registered, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = new_key(made.folder, load_settings(made.folder.settings))
    with monkeypatch.context() as patch:
        patch.setattr("fedthorax.client.site.setup.write_text", _full)
        with pytest.raises(OSError, match="No space"):
            switch_key(made.folder)
    assert switch_key(made.folder) == renewed.fingerprint == require_private_key(made.folder)
    assert made.folder.public_key.read_text().strip() == public_key_text(read_private_key(made.folder.private_key))


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_is_not_there_and_a_bad_name_are_refused(tmp_path: Path, invitation: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"--ct .*: no such folder"):
        init_site("Anna", tmp_path, tmp_path / "nowhere", invitation, tmp_path / "anna")
    odd = tmp_path / os.fsdecode(b"r\xf6ntgen")
    odd.mkdir()
    with pytest.raises(ValueError, match=r"--xray .*: its name is not in UTF-8; give a link"):
        init_site("Anna", odd, None, invitation, tmp_path / "anna")
    with pytest.raises(ValueError, match="hospital name"):
        init_site("../Anna", tmp_path, tmp_path, invitation, tmp_path / "anna")
    assert not (tmp_path / "anna").exists()


def test_a_key_that_others_can_read_is_not_used(made: Registered) -> None:
    made.folder.private_key.chmod(0o640)
    with pytest.raises(PermissionError, match=r"others may read it \(mode 640\)"):
        require_private_key(made.folder)


def test_a_new_key_is_vouched_for_by_the_old_one_and_used_only_once_switched(made: Registered) -> None:
    settings, old = load_settings(made.folder.settings), made.folder.public_key.read_text()
    renewed = new_key(made.folder, settings)
    assert read_registration(renewed.registration).signed_by_previous(old)
    assert require_private_key(made.folder) == made.fingerprint
    assert switch_key(made.folder) == renewed.fingerprint == require_private_key(made.folder)
    with pytest.raises(FileNotFoundError, match="no new key"):
        switch_key(made.folder)


def test_keys_and_certificates_are_renewed_by_the_commands_that_a_hospital_types(
    made: Registered, invitation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ("--folder", str(made.folder.path))
    said = []
    for words in (
        ["site", "renew", *folder],
        ["site", "renew", "--switch", *folder],
        ["site", "renew", "--invitation", str(invitation), *folder],
        ["site", "worker-certificates", "gpu.hospital.example", *folder],
    ):
        assert run(words) == 0
        said.append(capsys.readouterr().out)
    new = require_private_key(made.folder)
    assert new != made.fingerprint
    assert f"read to them: {new}\nonce it is admitted: fedthorax site renew --switch\n" in said[0]
    assert said[1] == f"the new key is in use: {new}\n"
    assert said[2] == "the new certificate is in use\n"
    assert "to gpu.hospital.example over a safe way, then remove it here" in said[3]
    assert len(list((made.folder.path / "worker-tls").iterdir())) == 2


def test_an_invitation_of_another_consortium_or_address_is_not_taken_over(made: Registered, tmp_path: Path) -> None:
    facts = {"ca_certificate": authority_pem(), "software_version": "0.1.0"}
    for consortium, address, words in (
        ("other", "fl.example.org:8443", "it invites to other, not to net"),
        ("net", "evil.example.org:8443", "the server is at evil.example.org:8443 now"),
    ):
        path = tmp_path / f"{consortium}.json"
        write_json(path, Invitation(consortium=consortium, address=address, **facts))
        with pytest.raises(ValueError, match=words):
            renew_invitation(made.folder, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("participaton: always", r"site.yaml: participaton: unknown key; did you mean `participation`"),
        ("limits: {max_rounds: 0}", r"limits.max_rounds: expected a number of at least 1, got 0"),
        ("participation: named", "participation is named, but runs is empty"),
        ("server: h:99999", "the port of h:99999 must be from 1 to 65535"),
        ("https_proxy: http://proxy:99999", "https_proxy: .*[Pp]ort out of range"),
        ("users: {clientapp: app}", "users.clientapp needs users.group"),
        ("limits: {min_learning_rate: 1}", "min_learning_rate is above limits.max_learning_rate"),
    ],
)
def test_a_mistake_in_site_yaml_is_one_clear_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "site.yaml"
    lines = ["name: a", "consortium: net", "server: h:1", "xray: x", "ct: c"]
    kept = [line for line in lines if line.split(":")[0] != text.split(":")[0]]
    path.write_text("\n".join([*kept, text, ""]))
    with pytest.raises(ValueError, match=words) as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_hospital_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give the hospital's folder with --folder, or make one"):
        SiteFolder.at(tmp_path)
