import json

import pytest

from fedthorax.common.consortium.keys import fingerprint, new_private_key, public_key_text
from fedthorax.common.consortium.registration import new_registration, read_registration
from fedthorax.common.ground.atomic_write import write_json


@pytest.fixture
def file(tmp_path):
    """The registration file of St. Anna."""
    write_json(tmp_path / "anna.site.json", new_registration("St. Anna", new_private_key(), "0.1.0"))
    return tmp_path / "anna.site.json"


def change(file, **values):
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(content | values), encoding="utf-8")


def test_a_registration_comes_back_as_it_was_made(tmp_path):
    key = new_private_key()
    registration = new_registration("Süd-Klinik 2", key, "0.1.0")
    write_json(tmp_path / "x.site.json", registration)
    assert read_registration(tmp_path / "x.site.json") == registration
    assert registration.public_key == public_key_text(key)


def test_two_registrations_of_one_key_differ_in_their_nonce():
    key = new_private_key()
    assert new_registration("A", key, "1").nonce != new_registration("A", key, "1").nonce


@pytest.mark.parametrize(
    "values",
    [
        {"name": "St. Anne"},
        {"public_key": public_key_text(new_private_key())},
        {"software_version": "0.2.0"},
        {"created": "2020-01-01T00:00:00+00:00"},
        {"nonce": "0" * 32},
        {"signature": "AAAA"},
    ],
)
def test_a_changed_file_is_refused_by_its_signature(file, values):
    change(file, **values)
    with pytest.raises(ValueError, match=r"anna\.site\.json: the signature does not fit"):
        read_registration(file)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, "format: expected 1, got 2"),
        ({"name": "../etc"}, "hospital name '../etc'"),
        ({"public_key": "ssh-ed25519 AAAA"}, "public_key: expected a public key in OpenSSH's format"),
        ({"nonce": "xyz"}, "nonce: expected text that matches"),
        ({"created": "yesterday"}, "created: expected a time such as"),
        ({"admin": True}, "admin: unknown key"),
    ],
)
def test_a_file_that_no_hospital_made_is_refused_by_the_key_at_fault(file, values, message):
    change(file, **values)
    with pytest.raises(ValueError, match=r"anna\.site\.json: ") as refusal:
        read_registration(file)
    assert message in str(refusal.value)


def test_a_file_that_is_not_json_or_too_large_is_refused(tmp_path):
    (tmp_path / "a").write_text("not json")
    with pytest.raises(ValueError, match=r"a: "):
        read_registration(tmp_path / "a")
    (tmp_path / "b").write_bytes(b" " * 300_000)
    with pytest.raises(ValueError, match="larger than 262144 bytes"):
        read_registration(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match=r"no such file; expected a hospital's NAME\.site\.json"):
        read_registration(tmp_path / "c")


def test_a_new_key_is_vouched_for_by_the_one_before_and_by_no_other():
    old, new, other = new_private_key(), new_private_key(), new_private_key()
    registration = new_registration("St. Anna", new, "0.1.0", previous_key=old)
    assert registration.signed_by_previous(public_key_text(old))
    assert not registration.signed_by_previous(public_key_text(other))
    assert not new_registration("St. Anna", new, "0.1.0").signed_by_previous(public_key_text(old))


def test_the_fingerprint_is_the_one_of_ssh_keygen():
    text = (
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIdgnALlLCjFGIIE8W66li82Ie4vGjHFPaifrb"
        "A+2dsgHNHRaoJOrvZUjj0M8T/8BTChI8+u9KlG9Nd1g7jm5VbuDSqV6P/EaOh7rmylQZ1+h+PyOHLq+3kg4Q3gXJA/uQ=="
    )
    assert fingerprint(text) == fingerprint(text + " somebody@somewhere\n")
    assert fingerprint(text) == "SHA256:2Tb6XFeAAhS3LyPOAe/yjnoWeOijIWMQ0sKSYCD5xJU"
