# ruff: noqa: F811  (fixtures of another module)
"""A hospital masks with those whom a person here has looked at."""

from pathlib import Path

import pytest

from fedthorax.client.site.settings import load_settings
from fedthorax.client.site.trust import pin, trust_of, trusted
from fedthorax.common.consortium.registration import read_registration
from fedthorax.common.consortium.roster import RosterFile
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.masking.keys import raw

from .test_setup import invitation, made  # noqa: F401


@pytest.fixture
def roster(made, tmp_path) -> Path:
    identity = read_registration(made.registration).identity
    return written(tmp_path, {"St. Anna": identity, "north": "1" * 64, "south": "2" * 64})


def written(folder: Path, hospitals: dict[str, str], consortium: str = "net") -> Path:
    write_json(folder / "roster.json", RosterFile(consortium=consortium, hospitals=hospitals))
    return folder / "roster.json"


def test_nobody_is_trusted_before_a_person_has_looked(made):
    with pytest.raises(ValueError, match="this hospital trusts no roster yet"):
        trust_of(made.folder)


def test_the_identity_is_the_registrations_and_its_owners_alone(made, roster):
    assert (made.folder.identity.stat().st_mode & 0o777) == 0o600
    pin(made.folder, load_settings(made.folder.settings), roster)
    trust = trust_of(made.folder)
    assert raw(trust.identity.public_key()).hex() == trust.roster["St. Anna"]


def test_a_roster_is_pinned_once_its_fingerprint_was_heard(made, roster):
    settings = load_settings(made.folder.settings)
    with pytest.raises(ValueError, match="it is another roster"):
        pin(made.folder, settings, roster, "00000 " * 12)
    assert trusted(made.folder) is None
    first = pin(made.folder, settings, roster)
    assert not first.known
    assert pin(made.folder, settings, roster, first.roster.fingerprint).known


@pytest.mark.parametrize(
    ("hospitals", "consortium", "words"),
    [
        ({"north": "1" * 64}, "net", "it lacks this hospital"),
        ({"St. Anna": "1" * 64}, "net", "it has another identity for it"),
        ({"St. Anna": "1" * 64}, "other", "it is of other, not of net"),
    ],
)
def test_another_consortiums_roster_or_one_with_another_identity_is_refused(
    made,
    tmp_path,
    hospitals,
    consortium,
    words,
):
    with pytest.raises(ValueError, match=words):
        pin(made.folder, load_settings(made.folder.settings), written(tmp_path, hospitals, consortium))
    assert trusted(made.folder) is None
