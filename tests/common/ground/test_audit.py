import errno
import hashlib
import json
import os
import threading

import numpy as np
import pytest

from fedthorax.common.ground import audit
from fedthorax.common.ground.audit import AuditLog, parts, read_lines, verify
from fedthorax.common.ground.strict_json import canonical_json


@pytest.fixture
def log(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    log.append("join", site="Nord")
    log.append("receive", site="Nord", round=np.int64(1), sha256="ab")
    log.append("refuse", site="Süd", reason="NaN in fusion/dense")
    return log


def lines_of(log):
    return log.path.read_text(encoding="utf-8").splitlines()


def test_every_line_names_the_hash_of_the_line_before(log):
    entries = [json.loads(line) for line in lines_of(log)]
    assert [entry["sequence"] for entry in entries] == [0, 1, 2]
    assert entries[0]["previous"] == "0" * 64
    assert [entry["previous"] for entry in entries[1:]] == [entry["hash"] for entry in entries[:-1]]
    assert entries[1]["facts"] == {"site": "Nord", "round": 1, "sha256": "ab"}
    verify(log.path)


def test_a_log_is_continued_and_the_new_hash_is_returned(log):
    last = AuditLog(log.path).append("leave")
    assert json.loads(lines_of(log)[-1])["hash"] == last
    assert json.loads(lines_of(log)[-1])["sequence"] == 3
    assert verify(log.path) == 4


def test_a_line_longer_than_one_read_is_continued(log):
    log.append("note", text="x" * 200_000)
    log.append("leave")
    verify(log.path)


def test_a_line_for_which_there_is_no_room_leaves_nothing_and_the_log_goes_on_later(log, monkeypatch):
    write = os.write

    def full(descriptor, data):
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, bytes(data[: len(data) // 2]))

    before = lines_of(log)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log.append("leave")
    assert lines_of(log) == before
    log.append("leave")
    verify(log.path)


def test_threads_that_append_at_once_make_one_chain(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    threads = [threading.Thread(target=lambda: [log.append("tick") for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines_of(log)) == 20
    verify(log.path)


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda lines: [lines[0], lines[1].replace("Nord", "Sued"), lines[2]], "line 2 was changed"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow the line before it"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow"),
        (lambda lines: [lines[0], "not json", lines[2]], "line 2 is not JSON"),
        (lambda lines: [*lines, json.dumps({"event": "x"})], "line 4 must have the keys"),
    ],
)
def test_a_tampered_log_is_named_by_its_first_broken_line(log, tamper, message):
    log.path.write_text("\n".join(tamper(lines_of(log))) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        verify(log.path)


def test_a_line_with_a_wrong_number_is_found_even_if_its_hash_fits(log):
    lines = lines_of(log)
    entry = {**json.loads(lines[2]), "sequence": 7}
    del entry["hash"]
    entry["hash"] = hashlib.sha256(canonical_json(entry).encode()).hexdigest()
    log.path.write_text("\n".join([*lines[:2], canonical_json(entry)]) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 3 does not follow"):
        verify(log.path)


def test_a_cut_off_line_is_found_and_not_continued(log):
    log.path.write_bytes(log.path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="line 3 is not JSON"):
        verify(log.path)
    with pytest.raises(ValueError, match="the last line is damaged"):
        log.append("leave")


def test_a_fact_that_json_cannot_hold_is_refused_and_nothing_is_written(log):
    before = log.path.read_bytes()
    with pytest.raises(ValueError, match=r"facts\.loss is nan"):
        log.append("receive", loss=float("nan"))
    assert log.path.read_bytes() == before


def test_the_head_is_the_newest_hash(log, tmp_path):
    assert log.head() == json.loads(lines_of(log)[-1])["hash"]
    assert AuditLog(tmp_path / "none.jsonl").head() == "0" * 64


def test_a_half_written_line_is_taken_off_and_told(log):
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"sequence":3,"ti')
    with pytest.raises(ValueError, match="the last line is damaged"):
        log.append("leave")
    log.mend()
    verify(log.path)
    entry = json.loads(lines_of(log)[-1])
    assert (entry["event"], entry["facts"]["text"]) == ("half-written line taken off", '{"sequence":3,"ti')
    log.mend()  # nothing more to take off
    assert len(lines_of(log)) == 4


@pytest.fixture
def turned_over(tmp_path, monkeypatch):
    """Twelve lines, in files of five."""
    monkeypatch.setattr(audit, "MOST_BYTES", 1000)
    log = AuditLog(tmp_path / "audit.jsonl")
    for number in range(12):
        log.append("tick", number=number)
    return log


def test_a_full_file_is_put_aside_and_the_chain_goes_on_in_a_new_one(turned_over):
    names = [part.name for part in parts(turned_over.path)]
    assert names == ["audit.000000000000.jsonl", "audit.000000000005.jsonl", "audit.jsonl"]
    assert verify(turned_over.path) == 12
    assert [line["facts"]["number"] for line in read_lines(turned_over.path)] == list(range(12))
    assert turned_over.head() == list(read_lines(turned_over.path))[-1]["hash"]


def test_a_new_file_without_a_line_has_the_head_of_the_one_before(turned_over):
    head = turned_over.head()
    turned_over.path.rename(turned_over.path.with_name("audit.000000000010.jsonl"))
    assert turned_over.head() == head
    assert AuditLog(turned_over.path).append("tick") != head
    assert verify(turned_over.path) == 13


def test_threads_that_append_while_files_are_put_aside_make_one_chain(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "MOST_BYTES", 700)
    log = AuditLog(tmp_path / "audit.jsonl")
    threads = [threading.Thread(target=lambda: [log.append("tick") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(log.path) == 40
    assert len(parts(log.path)) > 5


def test_a_file_that_was_put_aside_and_then_changed_or_lost_breaks_the_chain(turned_over):
    _, middle, _ = parts(turned_over.path)
    text = middle.read_text()
    middle.write_text(text.replace('"number":6', '"number":7'))
    with pytest.raises(ValueError, match=r"audit\.000000000005\.jsonl: line 2 was changed"):
        verify(turned_over.path)
    middle.unlink()
    with pytest.raises(ValueError, match=r"audit\.jsonl: line 1 does not follow"):
        verify(turned_over.path)


def test_the_newest_heads_are_found_without_reading_the_log(turned_over, monkeypatch):
    hashes = [line["hash"] for line in read_lines(turned_over.path)]
    assert turned_over.holds(hashes[0])
    assert not turned_over.holds("0" * 64)
    monkeypatch.setattr(audit, "read_lines", None)
    assert turned_over.holds(hashes[-1])


def test_a_head_that_stands_in_a_fact_only_is_not_held(log):
    log.append("note", text='"hash":"' + "a" * 64 + '"', head="a" * 64)
    assert not log.holds("a" * 64)


def test_a_log_that_is_not_there_cannot_be_whole(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        verify(tmp_path / "audit.jsonl")
