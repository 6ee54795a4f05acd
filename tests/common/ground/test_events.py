"""The events of a run, written by several and read by one."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.ground.events import EventLog, read_events


def test_events_are_read_once_each_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "run" / "events.jsonl"
    assert read_events(path) == ([], 0)
    with EventLog(path) as log:
        log.emit("note", text="erst")
        events, offset = read_events(path)
        assert [event["text"] for event in events] == ["erst"]
        log.emit("note", text="späte")
        events, offset = read_events(path, offset)
        assert [event["text"] for event in events] == ["späte"]
        assert read_events(path, offset) == ([], offset)


def test_an_undefined_number_is_null_and_numpy_becomes_plain(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.emit("site", loss=float("nan"), best=np.float32("inf"), done=np.int64(3), shape=(1, np.float32(0.5)))
    event = json.loads(path.read_text(encoding="utf-8"))
    assert (event["loss"], event["best"], event["done"], event["shape"]) == (None, None, 3, [1, 0.5])


def test_a_line_still_being_written_waits_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"kind": "note"}\n{"kind": \n[1]\n{"kind": "en')
    events, offset = read_events(path)
    assert [event["kind"] for event in events] == ["note"]
    with path.open("ab") as file:
        file.write(b'd"}\n')
    assert read_events(path, offset)[0] == [{"kind": "end"}]


def test_a_file_that_was_replaced_by_a_shorter_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"kind": "note"}\n', encoding="utf-8")
    assert len(read_events(path, 1000)[0]) == 1


def test_two_writers_do_not_tear_each_others_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def write(number: int) -> None:
        with EventLog(path) as log:
            for _ in range(100):
                log.emit("note", text=str(number) * 2000)

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events, _ = read_events(path)
    assert sorted(event["text"][0] for event in events) == ["1"] * 100 + ["2"] * 100


def test_a_log_without_a_file_and_a_closed_one_do_nothing(tmp_path: Path) -> None:
    EventLog(None).emit("note", text="nobody listens")
    log = EventLog(tmp_path / "events.jsonl")
    log.close()
    log.emit("note", text="too late")
    log.close()
    assert read_events(tmp_path / "events.jsonl") == ([], 0)


def test_a_folder_in_the_way_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        EventLog(tmp_path)
