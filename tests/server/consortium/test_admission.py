import json
import os

import pytest

from fedthorax.common.consortium.keys import fingerprint, new_private_key, public_key_text
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.audit import verify
from fedthorax.server.consortium.admission import admit, revoke, roster
from fedthorax.server.consortium.folder import read_hospitals


def events(folder):
    verify(folder.audit.path)
    return [(e["event"], e["facts"]) for e in map(json.loads, folder.audit.path.read_text().splitlines())]


def test_a_hospital_is_admitted_under_its_name_with_its_key(folder, applicant):
    anna = applicant("St. Anna")
    done = admit(folder, anna.file)
    assert not done.connectable  # the server does not run
    assert done.fingerprint == fingerprint(public_key_text(anna.key))
    (hospital,) = read_hospitals(folder)
    assert (hospital.name, hospital.public_key) == ("St. Anna", public_key_text(anna.key))
    assert (hospital.node_id, hospital.revoked) == (None, False)
    assert events(folder)[-1] == (
        "admitted",
        {"name": "St. Anna", "fingerprint": done.fingerprint, "software_version": "0.1.0"},
    )


def refused(folder, file, message, **more):
    before = folder.hospitals.read_bytes()
    with pytest.raises(ValueError, match=message):
        admit(folder, file, **more)
    assert folder.hospitals.read_bytes() == before
    assert events(folder)[-1][0] == "refused"


def test_a_replayed_file_is_refused(folder, applicant):
    anna = applicant("St. Anna")
    admit(folder, anna.file)
    refused(folder, anna.file, "this file was admitted before")


def test_a_replayed_file_is_refused_after_the_hospital_was_revoked(folder, applicant):
    anna = applicant("St. Anna")
    admit(folder, anna.file)
    revoke(folder, "St. Anna")
    refused(folder, anna.file, "this file was admitted before")


def test_an_altered_file_is_refused_and_the_audit_log_says_so(folder, applicant):
    anna = applicant("St. Anna")
    anna.file.write_text(anna.file.read_text().replace("St. Anna", "St. Berta"))
    refused(folder, anna.file, "the signature does not fit")


def test_a_file_whose_name_is_no_utf_8_is_refused_with_its_reason(folder, tmp_path):
    file = tmp_path / os.fsdecode(b"anna\xe4.site.json")
    file.write_text("{}")
    refused(folder, file, "public_key: missing")
    assert events(folder)[-1][1]["file"] == "anna\\udce4.site.json"


def test_another_site_cannot_take_the_name(folder, applicant):
    admit(folder, applicant("St. Anna").file)
    refused(folder, applicant("St. Anna").file, "St. Anna is admitted already, with another key")
    refused(folder, applicant("st. anna").file, "can be mistaken for 'St. Anna'")


def test_one_key_has_one_name(folder, applicant):
    anna = applicant("St. Anna")
    admit(folder, anna.file)
    refused(folder, applicant("Berta", key=anna.key).file, "its key is admitted already, as St. Anna")


def test_a_wrong_fingerprint_is_refused_and_the_right_one_is_not(folder, applicant):
    anna, other = applicant("St. Anna"), applicant("Berta")
    wrong = fingerprint(public_key_text(other.key))
    refused(folder, anna.file, "this is not the hospital's file", expected_fingerprint=wrong)
    admit(folder, anna.file, expected_fingerprint=fingerprint(public_key_text(anna.key)))


def test_a_hospital_changes_its_key_with_the_old_one_as_witness(folder, applicant):
    old = applicant("St. Anna")
    admit(folder, old.file)
    new = applicant("St. Anna", previous=old)
    assert admit(folder, new.file).replaced_key
    (hospital,) = read_hospitals(folder)
    assert hospital.public_key == public_key_text(new.key)
    assert hospital.former_keys == (public_key_text(old.key),)
    assert events(folder)[-1][0] == "key_changed"
    refused(folder, applicant("St. Anna", previous=new, key=old.key).file, "its key was given up or revoked")


def test_a_stranger_is_no_witness(folder, applicant):
    admit(folder, applicant("St. Anna").file)
    refused(folder, applicant("St. Anna", previous=applicant("Berta")).file, "that key has not signed this file")


def test_a_revoked_hospital_comes_back_with_a_new_key_only(folder, applicant):
    anna = applicant("St. Anna")
    admit(folder, anna.file)
    revoke(folder, "St. Anna")
    assert read_hospitals(folder)[0].revoked
    refused(folder, applicant("St. Anna", key=anna.key).file, "its key was given up or revoked")
    assert not admit(folder, applicant("St. Anna").file).replaced_key
    assert not read_hospitals(folder)[0].revoked


def test_only_an_admitted_hospital_is_revoked(folder, applicant):
    with pytest.raises(ValueError, match="hospital 'Berta' is not on the list; admitted hospitals: none"):
        revoke(folder, "Berta")
    admit(folder, applicant("Berta").file)
    revoke(folder, "Berta")
    with pytest.raises(ValueError, match="hospital 'Berta' is revoked already"):
        revoke(folder, "Berta")


def test_the_roster_holds_the_identities_of_all_that_are_admitted(folder, tmp_path):
    for name, identity in (("north", "1" * 64), ("south", None), ("west", "2" * 64)):
        write_json(tmp_path / f"{name}.json", new_registration(name, new_private_key(), "0.1.0", identity=identity))
        admit(folder, tmp_path / f"{name}.json")
    revoke(folder, "west")
    found, without = roster(folder, "net")
    assert found.hospitals == {"north": "1" * 64}
    assert without == ["south"]


def test_an_identity_that_is_anothers_is_refused(folder, tmp_path):
    for name in ("north", "south"):
        write_json(tmp_path / f"{name}.json", new_registration(name, new_private_key(), "0.1.0", identity="1" * 64))
    admit(folder, tmp_path / "north.json")
    with pytest.raises(ValueError, match="its identity for masking is north's"):
        admit(folder, tmp_path / "south.json")


def test_nobody_is_admitted_whose_admission_cannot_be_written_down_and_the_file_can_come_again(
    folder, applicant, monkeypatch
):
    anna = applicant("St. Anna")
    with monkeypatch.context() as patch:
        patch.setattr("fedthorax.common.ground.audit._write_whole", raise_(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            admit(folder, anna.file)
    assert read_hospitals(folder) == ()
    assert admit(folder, anna.file).hospital.name == "St. Anna"


def test_a_superlink_that_answers_with_an_error_keeps_no_change_of_the_list_back(folder, applicant, monkeypatch):
    monkeypatch.setattr(
        "fedthorax.server.consortium.admission.tell_superlink", raise_(RuntimeError("database is locked"))
    )
    assert not admit(folder, applicant("St. Anna").file).connectable
    assert not revoke(folder, "St. Anna")
    assert read_hospitals(folder)[0].revoked


def raise_(error):
    def function(*_, **__):
        raise error

    return function
