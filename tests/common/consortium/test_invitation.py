import json

import pytest

from fedthorax.common.consortium.invitation import Invitation, read_invitation
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.server.consortium.certificates import create_authority


@pytest.fixture
def content(tmp_path):
    create_authority("thorax", tmp_path / "ca.crt", tmp_path / "ca.key")
    return {
        "format": 1,
        "consortium": "thorax",
        "address": "fl.example.org:8443",
        "ca_certificate": (tmp_path / "ca.crt").read_text(),
        "software_version": "0.1.0",
    }


def test_an_invitation_comes_back_as_it_was_written(tmp_path, content):
    invitation = Invitation(**content)
    write_json(tmp_path / "invitation.json", invitation)
    assert read_invitation(tmp_path / "invitation.json") == invitation


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ca_certificate": "x"}, "ca_certificate: expected a certificate in PEM"),
        ({"address": "https://fl.example.org"}, "address: expected HOST:PORT"),
        ({"format": 7}, "format: expected 1, got 7"),
    ],
)
def test_a_broken_invitation_is_refused_by_the_key_at_fault(tmp_path, content, values, message):
    path = tmp_path / "invitation.json"
    path.write_text(json.dumps(content | values))
    with pytest.raises(ValueError, match=r"invitation\.json: ") as refusal:
        read_invitation(path)
    assert message in str(refusal.value)
