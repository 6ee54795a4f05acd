"""Whatever comes instead of a message is a ValueError in one short line, and nothing else.

The examples are drawn from the messages' own schemas, so a field that is added tomorrow is spoilt here too.
"""

import json
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedthorax.common.config import Experiment
from fedthorax.common.messages.message import Reply, Task
from fedthorax.common.messages.reading import read_reply, read_task
from fedthorax.common.messages.replies import REPLIES
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import TASKS
from fedthorax.common.wire.parcel import Cargo, pack_parcel

from ...conftest import EXPERIMENT
from ...told import changed, described, outcome, statistics, trained
from .schema import allowed

Json = Any
Place = tuple[str | int, ...]
EXAMPLES = settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
KINDS = sorted(TASKS)
TINY = Experiment.model_validate(yaml.safe_load(EXPERIMENT))
FACTS = {"site": "north", "round": 2}


def asked(kind: str) -> Task:
    more = {
        "finish": {"outcome": outcome(TINY)},
        "unmask": {"context": "0" * 64, "taken": ("north", "south"), "dealt": {"north": "00", "south": "00"}},
    }
    return TASKS[kind](**FACTS, **more.get(kind, {}))


def read(kind: str, side: str, text: bytes) -> Task | Reply:
    parcel = pack_parcel(text, Cargo.of({}))
    return read_task(parcel) if side == "task" else read_reply(parcel, asked(kind))


@cache
def good(kind: str, side: str) -> st.SearchStrategy[Json]:
    """Good messages, as JSON."""
    schema = (TASKS if side == "task" else REPLIES)[kind].model_json_schema()
    fields = {name: field for name, field in schema["properties"].items() if name not in BESIDE}
    if side == "reply" and "results" in fields:
        results = [choice for choice in fields["results"]["anyOf"] if choice.get("type") != "null"]
        fields = {name: fields[name] for name in ("kind", "site", "round", "task_id")} | {"results": results[0]}
        schema = {**schema, "required": list(fields)}
    return allowed({**schema, "properties": fields}).map(lambda message: {**message, "kind": kind})


def messages(side: str) -> st.SearchStrategy[tuple[str, Json]]:
    return st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), good(kind, side)))


BESIDE = ("weights", "packed", "beside", "address", "egress_head")


def places(value: Json, place: Place = ()) -> Iterator[Place]:
    yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield from places(below, (*place, key))


def put(value: Json, place: Place, new: Json) -> Json:
    if not place:
        return new
    key, *rest = place
    found = dict(value) if isinstance(value, dict) else list(value)
    found[key] = put(found[key], tuple(rest), new)
    return found


def at(value: Json, place: Place) -> Json:
    for key in place:
        value = value[key]
    return value


RAW = {  # what json.dumps would not write
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "huge": b"1e400",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep mapping": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "many digits": b"9" * 6000,
    "surrogate": rb'"\ud800"',
    "not UTF-8": b'"\xff"',
    "twice": b'{"a":1,"a":2}',
}
WRONG = (
    None, True, -1, 0, 7, 2**80, 1.5, -1e300, "", "x", "\x1b[2J\nround 9/3\u202e", "y" * 5_000_000,
    [], [None], {}, {"unknown": 1}, [[[]]], *(f"@{name}@" for name in RAW),
)  # fmt: skip


def dumped(value: Json) -> bytes:
    text = json.dumps(value).encode()
    for name, raw in RAW.items():
        text = text.replace(json.dumps(f"@{name}@").encode(), raw)
    return text


def refused_or_read(kind: str, side: str, text: bytes) -> Task | Reply | None:
    try:
        return read(kind, side, text)
    except ValueError as error:
        words, refusal = str(error), type(error)
    assert refusal is ValueError
    assert 0 < len(words) <= 600
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for character in words)
    return None


@pytest.mark.parametrize("side", ["task", "reply"])
@given(data=st.data())
@EXAMPLES
def test_a_good_message_is_read_and_comes_back_as_it_is(side: str, data: st.DataObject) -> None:
    kind, message = data.draw(messages(side))
    read_once = read(kind, side, dumped(message))
    again = read(kind, side, closed(read_once).text)
    assert changed(again, address="") == changed(read_once, address="") if side == "reply" else again == read_once


@pytest.mark.parametrize("side", ["task", "reply"])
@given(data=st.data())
@EXAMPLES
def test_anything_in_place_of_anything_is_refused_in_one_line_or_still_a_message(
    side: str, data: st.DataObject
) -> None:
    kind, message = data.draw(messages(side))
    place = data.draw(st.sampled_from(list(places(message))))
    came = refused_or_read(kind, side, dumped(put(message, place, data.draw(st.sampled_from(WRONG)))))
    if came is not None:  # another number, a shorter text
        again = read(kind, side, closed(came).text)
        assert changed(again, address="") == changed(came, address="") if side == "reply" else again == came


@pytest.mark.parametrize("side", ["task", "reply"])
@given(data=st.data())
@EXAMPLES
def test_a_key_too_many_is_refused_wherever_it_stands(side: str, data: st.DataObject) -> None:
    kind, message = data.draw(messages(side))
    for place in [(), ("results",)][: 2 if "results" in message else 1]:
        with pytest.raises(ValueError, match="Extra inputs are not permitted"):
            read(kind, side, dumped(put(message, place, {**at(message, place), "one_more": 1})))


@pytest.mark.parametrize("name", sorted(RAW))
@pytest.mark.parametrize("kind", KINDS)
def test_what_no_number_and_no_text_is_is_refused_in_every_kind(kind: str, name: str) -> None:
    for side in ("task", "reply"):
        spoilt: dict[str, Any] = {"kind": kind, **FACTS, "deadline" if side == "task" else "task_id": f"@{name}@"}
        assert refused_or_read(kind, side, dumped(spoilt)) is None
        assert refused_or_read(kind, side, RAW[name]) is None


def test_a_text_that_is_too_long_to_be_looked_at_is_not() -> None:
    for kind in KINDS:
        most = REPLIES[kind].most_text
        if most <= 8 << 20:
            with pytest.raises(ValueError, match=f"bytes of text; at most {most} are read"):
                read(kind, "reply", b" " * (most + 1))


def test_words_of_a_hospital_are_shown_without_what_moves_the_cursor_and_are_cut() -> None:
    words = "no\x1b[2J\nround 9/3: all trained\u202e" + "y" * 5000
    reply = read("train", "reply", dumped({"kind": "train", **FACTS, "error": words}))
    assert isinstance(reply, Reply)
    assert reply.error is not None
    assert reply.error.startswith("no [2J round 9/3: all trainedyyy")
    assert len(reply.error) == 2000


@pytest.mark.parametrize(("results", "error"), [(None, None), ("trained", "no")])
def test_a_reply_has_results_or_the_reason_why_not(results: Json, error: str | None) -> None:
    told = trained().model_dump(mode="json") if results else None
    with pytest.raises(ValueError, match="expected one of results, error, lacking"):
        read("train", "reply", dumped({"kind": "train", **FACTS, "results": told, "error": error}))


def test_what_hospitals_tell_today_is_read() -> None:
    for kind, told in (("describe", described()), ("train", trained())):
        text = dumped({"kind": kind, **FACTS, "results": told.model_dump(mode="json")})
        assert read(kind, "reply", text).results == told  # type: ignore[union-attr]
    text = dumped({"kind": "statistics", **FACTS, "results": {"statistics": statistics().model_dump(mode="json")}})
    assert read("statistics", "reply", text).results.statistics == statistics()  # type: ignore[union-attr]
