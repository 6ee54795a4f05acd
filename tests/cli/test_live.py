"""The progress display, driven by hand-written events."""

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedthorax.cli.live import RunDisplay, watched
from fedthorax.common.ground.events import EventLog, EventTail
from fedthorax.common.ground.progress import RunProgress, clock

SITES = ["north", "Klinikum Süd", "a hospital with a long name"]
CENTRAL = {
    "disease_loss": 0.69,
    "cancer_loss": 1.39,
    "disease": {"macro": {"roc_auc": 0.5, "f1": None}},
    "cancer": {"accuracy": 0.25, "macro": {"roc_auc": 0.625, "f1": 0.125}},
}


def _plain() -> Console:
    return Console(file=io.StringIO(), width=80, soft_wrap=True, highlight=False)


def _terminal() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None, legacy_windows=False)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _train(site: str, at: float, done: int, epoch: int = 1, **more: Any) -> dict[str, Any]:
    facts = {"site": site, "round": 1, "stage": "train", "done": done, "total": 10, "epoch": epoch, "epochs": 2}
    return {"time": at, "kind": "site", **facts, **more}


def _begun() -> Iterator[dict[str, Any]]:
    yield {"time": 0.0, "kind": "run", "name": "demo", "rounds": 2, "sites": SITES}
    yield {"time": 5.0, "kind": "round", "round": 0, "rounds": 2, "central": CENTRAL, "failures": [], "seconds": 5.0}
    yield {"time": 5.0, "kind": "server", "round": 1, "stage": "wait"}


def test_plain_output_is_one_line_a_site_and_a_row_a_round() -> None:
    display = RunDisplay(_plain())
    for event in _begun():
        display.take(event)
    for done in (0, 5, 10):
        display.take(_train("north", 6.0 + done, done, epoch=1, loss=1.0))
    for done in (0, 10):
        display.take(_train("north", 17.0 + done, done, epoch=2, loss=0.5))
    display.take({"time": 28.0, "kind": "failure", "site": SITES[2], "round": 1, "reason": "disk full"})
    failures = [{"site": SITES[2], "stage": "train", "reason": "disk full"}]
    last = {"time": 30.0, "kind": "round", "round": 1, "rounds": 2, "central": CENTRAL, "failures": failures}
    display.take({**last, "seconds": 25.4})
    assert _text(display.output).splitlines() == [
        "run demo: 2 rounds, hospitals north, Klinikum Süd, a hospital with a long name",
        "central validation, macro means over findings and classes",
        "            --- X-ray findings ---   --------- CT classes ----------",
        "   round      loss ROC-AUC      F1      loss accuracy ROC-AUC      F1   seconds",
        "   0/2      0.6900   0.500       -    1.3900    0.250   0.625   0.125         5",
        "round 1/2: north trained in 21 s, loss 0.5000",
        "         a hospital with a long name failed: disk full",
        "   1/2      0.6900   0.500       -    1.3900    0.250   0.625   0.125        25",
    ]


def test_the_picture_fits_80_columns_and_names_every_hospital() -> None:
    display = RunDisplay(_terminal())
    for event in _begun():
        display.take(event)
    display.take(_train("north", 10.0, 5, loss=0.4321))
    display.take({"time": 11.0, "kind": "failure", "site": "Klinikum Süd", "round": 1, "reason": "broken " * 20})
    console = _terminal()
    console.print(display.picture(11.0))
    lines = [line.rstrip() for line in _text(console).splitlines()]
    assert lines == [
        "demo  round 1/2  0:11 elapsed",
        "  north           training 1/2            ━━━━━━━━━━━━━━    5/10    loss 0.432",
        "  Klinikum Süd    failed: broken broken broken broken broken broken broken brok…",
        "  a hospital wi…  waiting",
        "  server          waiting for hospitals",
    ]


def test_a_terminal_without_line_drawing_gets_plain_marks() -> None:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace"), width=80)
    display = RunDisplay(console)
    for event in _begun():
        display.take(event)
    display.take(_train("north", 10.0, 5))
    console = _terminal()
    console.print(display.picture(11.0))
    assert "#######-------" in _text(console)


def test_time_left_comes_from_the_share_of_the_first_round_then_from_closed_rounds() -> None:
    progress = RunProgress()
    for event in _begun():
        progress.apply(event)
    assert progress.time_left(10.0) is None
    for site in SITES:
        progress.apply(_train(site, 25.0, 10))  # the first of two epochs: half the round in 20 s
    assert progress.time_left(25.0) == pytest.approx(2 * 40 - 20)
    progress.apply({"time": 45.0, "kind": "round", "round": 1, "rounds": 2, "central": CENTRAL, "seconds": 40.0})
    assert progress.time_left(55.0) == pytest.approx(40 - 10)
    progress.apply({"time": 90.0, "kind": "round", "round": 2, "rounds": 2, "central": CENTRAL, "seconds": 44.0})
    assert progress.time_left(95.0) == 0
    assert progress.elapsed(95.0) == 95


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65.9, "1:05"), (3600 * 2 + 184, "2:03:04")])
def test_a_clock_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("make_console", [_plain, _terminal])
def test_the_display_follows_a_new_file_and_shows_nothing_of_an_earlier_run(tmp_path: Path, make_console: Any) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.emit("note", text="from an earlier run")
    time.sleep(0.01)
    console = make_console()
    with watched(path, console):
        time.sleep(0.1)
        path.unlink()
        time.sleep(0.3)
        with EventLog(path) as log:
            log.emit("run", name="demo", rounds=1, sites=["north"])
            log.emit("round", round=1, rounds=1, central=CENTRAL, failures=[], seconds=1.0)
            log.emit("note", text="the last word")
    text = _text(console)
    assert "earlier" not in text
    assert "1/1      0.6900" in text
    assert "note: the last word" in text
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_an_error_of_the_run_ends_the_display_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="round 1"), watched(tmp_path / "events.jsonl", _terminal()):
        raise RuntimeError("round 1 failed")
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_a_file_that_appears_between_two_looks_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, console, look, looks = tmp_path / "events.jsonl", _plain(), EventTail._number, []

    def appears_after_the_first_look(tail: EventTail) -> int | None:
        found = look(tail)
        if not looks:
            with EventLog(path) as log:
                log.emit("run", name="x", rounds=1, sites=["north"])
        looks.append(found)
        return found

    monkeypatch.setattr(EventTail, "_number", appears_after_the_first_look)
    with watched(path, console):
        pass
    assert looks[0] is None
    assert _text(console).count("run x: 1 round, hospital north") == 1


def test_a_hospital_whose_run_waits_for_a_person_is_shown_so() -> None:
    progress = RunProgress()
    progress.apply({"time": 0.0, "kind": "run", "name": "x", "mode": "consortium", "rounds": 2, "sites": ["north"]})
    told = []
    for state in ("working", "approval", "working"):
        progress.apply({"time": 3.0, "kind": "hospital", "site": "north", "state": state, "since": 60.0})
        told.append(progress.sites["north"].words)
    clock = time.strftime("%H:%M", time.localtime(60.0))
    working = f"working since {clock}"
    assert told == [working, f"waits since {clock} for a person there to agree", working]


@pytest.mark.parametrize(("mode", "words"), [("simulate", "training 1/2"), ("consortium", "working since")])
def test_batches_are_shown_where_they_are_known_and_the_servers_view_elsewhere(mode: str, words: str) -> None:
    progress = RunProgress()
    progress.apply({"time": 0.0, "kind": "run", "name": "demo", "mode": mode, "rounds": 2, "sites": ["north"]})
    if mode == "simulate":
        progress.apply(_train("north", 2.0, done=5))
    progress.apply({"time": 3.0, "kind": "hospital", "site": "north", "state": "working", "since": 3.0})
    assert progress.sites["north"].words.startswith(words)


def test_a_slow_line_shows_how_much_is_through_how_fast_and_how_long_it_will_take() -> None:
    """What was there before a line broke is no part of the speed."""
    display = RunDisplay(_terminal())
    display.take({"kind": "run", "name": "r", "rounds": 2, "sites": ["north"], "time": 0.0})
    for at, done in ((10.0, 20_000_000), (12.0, 24_000_000)):
        display.take(
            {"kind": "site", "site": "north", "round": 1, "stage": "send", "done": done, "total": 54_000_000}
            | {"time": at}
        )
    console = _plain()
    console.print(display.picture(12.0))
    assert "sending the update, 2.0 MB/s, 0:15 left" in _text(console)
    assert "24.0/54.0 MB" in _text(console)


def test_the_lead_sees_how_fast_a_model_passes_and_then_that_the_hospital_works() -> None:
    progress = RunProgress()
    progress.apply({"time": 0.0, "kind": "run", "name": "r", "mode": "consortium", "rounds": 2, "sites": ["north"]})
    progress.apply({"time": 1.0, "kind": "hospital", "site": "north", "state": "working", "since": 1.0})
    passes = {"kind": "site", "site": "north", "round": 1, "stage": "fetch", "total": 54_000_000}
    words = []
    for at, done in ((10.0, 20_000_000), (12.0, 24_000_000), (27.0, 54_000_000)):
        progress.apply(passes | {"time": at, "done": done})
        words.append(progress.sites["north"].words)
    assert words[0].startswith("working since")  # of one moment there is no speed
    assert words[1] == "fetching the model, 2.0 MB/s, 0:15 left"
    assert words[2].startswith("working since")
    assert progress.sites["north"].total == 0  # no bar of bytes beside a training
