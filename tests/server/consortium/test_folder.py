import json
import stat

import pytest

from fedthorax.common.consortium.invitation import read_invitation
from fedthorax.common.ground.audit import verify
from fedthorax.server.consortium.folder import create_consortium, open_consortium, read_hospitals


def test_a_new_folder_holds_an_authority_an_invitation_and_no_hospital(folder):
    assert read_hospitals(folder) == ()
    invitation = read_invitation(folder.invitation)
    assert invitation.consortium == "thorax"
    assert invitation.ca_certificate == folder.ca_certificate.read_text()
    verify(folder.audit.path)


def test_private_keys_are_their_owners_alone_and_in_no_other_file(folder):
    for path in (folder.ca_key, folder.server_key, folder.loopback_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.ca_key.parent.stat().st_mode) == 0o700
    for path in folder.path.rglob("*"):
        if path.is_file() and path.suffix != ".key":
            assert b"PRIVATE" not in path.read_bytes(), path


def test_a_folder_that_holds_anything_is_not_touched(settings_file, tmp_path):
    (tmp_path / "thorax").mkdir()
    (tmp_path / "thorax" / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="is there already and not an empty folder"):
        create_consortium(settings_file, tmp_path / "thorax")
    assert [path.name for path in (tmp_path / "thorax").iterdir()] == ["letter.txt"]


def test_nothing_is_left_of_a_folder_that_could_not_be_finished(settings_file, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "fedthorax.server.consortium.folder.offer_invitation",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(OSError, match="No space left"):
        create_consortium(settings_file, tmp_path / "thorax")
    assert not (tmp_path / "thorax").exists()


def test_the_only_consortium_here_is_found_and_of_two_one_has_to_be_named(settings_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no consortium's folder here"):
        open_consortium()
    one = create_consortium(settings_file, tmp_path / "one")
    assert open_consortium() == one
    create_consortium(settings_file, tmp_path / "two")
    with pytest.raises(ValueError, match="several consortia here: one, two"):
        open_consortium()
    monkeypatch.chdir(one.path)
    assert open_consortium() == one
    with pytest.raises(FileNotFoundError, match="not a consortium's folder"):
        open_consortium(one.logs)


@pytest.mark.parametrize("text", ["{", '{"format": 2}', '{"format": 1, "hospitals": {"a": {}}, "nonces": []}', "[]"])
def test_a_damaged_list_of_hospitals_is_named(folder, text):
    folder.hospitals.write_text(text)
    with pytest.raises(ValueError, match=r"hospitals\.json: not a list of hospitals"):
        read_hospitals(folder)


def test_the_list_holds_a_hospital_under_its_name(folder, applicant):
    from fedthorax.server.consortium.admission import admit

    admit(folder, applicant("St. Anna").file)
    entry = json.loads(folder.hospitals.read_text())["hospitals"]["St. Anna"]
    assert entry["node_id"] is None
    assert entry["revoked_at"] is None
    assert entry["public_key"].startswith("ecdsa-sha2-nistp384 ")
