"""Who tries to get in leaves a line, and nobody can hide behind a crowd or fill the disk."""

import json
import logging
from typing import Any

import pytest

from fedthorax.common.consortium.keys import new_private_key, node_key, public_key_text
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.audit import verify
from fedthorax.server.consortium import refusals
from fedthorax.server.consortium.admission import admit, revoke
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium
from fedthorax.server.consortium.members import Members
from fedthorax.server.consortium.refusals import LOG_LINES_A_MINUTE, STRANGERS_AN_HOUR, FewOfAKind

from .served import PULL, signed


@pytest.fixture
def folder(tmp_path: Any) -> ConsortiumFolder:
    (tmp_path / "c.yaml").write_text("name: thorax\naddress: 127.0.0.1:8443\n")
    return create_consortium(tmp_path / "c.yaml", tmp_path / "thorax")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100_000.0]
    monkeypatch.setattr(refusals.time, "monotonic", lambda: now[0])
    return now


def admitted(folder: ConsortiumFolder, name: str) -> Any:
    key = new_private_key()
    write_json(folder.path / "file.json", new_registration(name, key, "0.1.0"))
    admit(folder, folder.path / "file.json")
    return key


def call(members: Members, headers: dict[str, str]) -> None:
    with pytest.raises(PermissionError):
        members.identify({name.encode(): value.encode() for name, value in headers.items()}, "POST", PULL)


def written(folder: ConsortiumFolder, event: str = "connection_refused") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in folder.audit.path.read_text().splitlines()]
    return [line["facts"] for line in lines if line["event"] == event]


def strange(number: int) -> dict[str, str]:
    """A key that is none costs a stranger nothing to make."""
    import base64

    return signed(KEY) | {"flwr-public-key": base64.b64encode(b"k" * (1 + number)).decode()}


KEY = new_private_key()


def test_a_revoked_hospital_leaves_its_line_behind_a_thousand_strangers(
    folder: ConsortiumFolder, clock: list[float]
) -> None:
    berta = admitted(folder, "Berta")
    members = Members(folder)
    for number in range(1000):
        call(members, strange(number))
    revoke(folder, "Berta")
    call(members, signed(berta))
    assert [line["reason"] for line in written(folder) if line["name"] == "Berta"] == [
        "the key was revoked or given up"
    ]
    assert len(written(folder)) == STRANGERS_AN_HOUR + 1
    clock[0] += 3600
    call(members, signed(KEY))
    assert written(folder, "refusals_suppressed") == [
        {"tries": 1000 - STRANGERS_AN_HOUR, "reason": "keys that are not admitted"}
    ]
    assert len(written(folder)) == STRANGERS_AN_HOUR + 2  # and a new hour has its own lines
    verify(folder.audit.path)


def test_a_revoked_key_has_a_line_a_day_and_nobody_else_can_make_it(
    folder: ConsortiumFolder, clock: list[float]
) -> None:
    berta = admitted(folder, "Berta")
    revoke(folder, "Berta")
    members = Members(folder)
    for _ in range(10):
        call(members, signed(berta))
    call(members, signed(berta, sign_with=KEY))  # who has her public key only
    assert [line["name"] for line in written(folder)] == ["Berta", None]
    clock[0] += 86400
    call(members, signed(berta))
    assert [line["name"] for line in written(folder)] == ["Berta", None, "Berta"]


def test_a_revoked_key_written_in_another_way_is_still_known(folder: ConsortiumFolder) -> None:
    import base64

    berta = admitted(folder, "Berta")
    revoke(folder, "Berta")
    written_otherwise = b"\n" + node_key(public_key_text(berta)).replace(b"\n", b"\r\n")
    call(Members(folder), signed(berta) | {"flwr-public-key": base64.b64encode(written_otherwise).decode()})
    assert [line["name"] for line in written(folder)] == ["Berta"]


def test_a_flood_of_one_kind_does_not_carry_the_other_lines_out_of_the_log(clock: list[float]) -> None:
    few, passed = FewOfAKind(), []

    def log(text: str, *words: object) -> None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, text, words, None)
        if few.filter(record):
            passed.append(record.getMessage())

    for number in range(1000):
        log("no HTTP from %s", number)
    log("the SuperLink does not answer")
    assert len(passed) == LOG_LINES_A_MINUTE + 1
    clock[0] += 60
    log("certificate renewed")
    assert passed[-1] == f"({1000 - LOG_LINES_A_MINUTE} like lines before were left out) certificate renewed"


def test_a_full_disk_refuses_all_the_same(
    folder: ConsortiumFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    anna, members = admitted(folder, "St. Anna"), Members(folder)

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(folder.audit), "append", full)
    monkeypatch.setattr("fedthorax.server.consortium.members.write_text", full)
    call(members, signed(KEY))
    assert "the audit log takes no line" in caplog.text
    headers = {name.encode(): value.encode() for name, value in signed(anna).items()}
    assert members.identify(headers, "POST", PULL)[0] == "St. Anna"
