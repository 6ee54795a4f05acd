"""Objects through a gateway that is a process: who may fetch and deliver what, and what a broken line leaves behind."""

import hashlib
from functools import partial

import numpy as np
import pytest

from fedthorax.common.consortium.keys import new_private_key
from fedthorax.common.consortium.objects import (
    HELD_HEADER,
    NO_BODY,
    WAY_HEADER,
    Place,
    call_headers,
    content_range,
    range_from,
    way,
)
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.wire.parcel import MOST_SEGMENTS, Cargo
from fedthorax.server.channel import Passing
from fedthorax.server.consortium.admission import admit, revoke
from fedthorax.server.consortium.objects import MOST_TIMES, ObjectStore, remove_orphans

from ...attacks.served import caller, head_of, raw, secure_socket, served_consortium
from ...told import trained
from ...waiting import wait_for

RUN = "0" * 32
MODEL = np.arange(500_000, dtype=np.float32)  # 2 MB
BYTES = MODEL.tobytes()
SHA256 = hashlib.sha256(BYTES).hexdigest()
UPDATE = (MODEL + 1).tobytes()
UPDATE_SHA256 = hashlib.sha256(UPDATE).hexdigest()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with served_consortium(tmp_path_factory.mktemp("consortium")) as one:
        yield one


@pytest.fixture
def store(served):
    one = ObjectStore(served.folder.objects)
    yield one
    one.end()


@pytest.fixture
def task(store):
    """A task of St. Anna's whose model can be fetched."""
    one = TrainTask(site="St. Anna", round=1, run=RUN, weights={"disease": MODEL})
    store.offer(one, Cargo.of(one.weights))
    return one


def place(task, sha256=SHA256):
    return Place(RUN, task.id, sha256)


def fetch(served, where, offset=None, key=None, method="GET"):
    part = "" if offset is None else range_from(offset)
    headers = call_headers(key or served.anna, method, where.path, part, NO_BODY) | ({"range": part} if part else {})
    with caller(served.folder) as client:
        return client.request(method, where.path, headers=headers)


def put_headers(served, where, body, offset=0, total=None, key=None):
    part = content_range(offset, offset + len(body) if total is None else total)
    digest = hashlib.sha256(body).hexdigest()
    return call_headers(key or served.anna, "PUT", where.path, part, digest) | {"content-range": part}


def put(served, where, body, offset=0, total=None, key=None):
    headers = put_headers(served, where, body, offset, total, key)
    with caller(served.folder) as client:
        return client.put(where.path, headers=headers, content=body)


def put_refused(served, where, length, headers):
    """Status and words of the answer to the head of a PUT alone: it has to come before the body."""
    head = f"PUT {where.path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{head_of(headers)}\r\n"
    first, _, rest = raw(served.folder, head).partition(b"\r\n")
    return int(first.split()[1]), rest.decode()


def held(served, where):
    answer = fetch(served, where, method="HEAD")
    return answer.status_code, int(answer.headers[HELD_HEADER])


def landed(served, where):
    """Bytes of an upload that have come; to ask the gateway would take it over."""
    parts = served.folder.objects.glob(f"{RUN}/*/{where.task}/up/{where.sha256}-*.part")
    return sum(part.stat().st_size for part in parts)


def send_half(served, where, body, sent):
    """A line that breaks after ``sent`` bytes of the body."""
    head = f"PUT {where.path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
    head += head_of(put_headers(served, where, body)) + "\r\n"
    with secure_socket(served.folder) as secure:
        secure.sendall(head.encode() + body[:sent])
        wait_for(lambda: landed(served, where) > sent - 800_000)  # the rest may be on its way through the gateway


def up(served, task):
    (folder,) = served.folder.objects.glob(f"{RUN}/*/{task.id}/up")
    return sorted(path.name for path in folder.iterdir())


def test_the_lead_sees_how_far_a_hospital_is_where_it_tells_so(served, store, task):
    where = place(task, UPDATE_SHA256)
    for words in ("", "1/2/3", "-1/2", "1/" + "9" * 16):
        told = {WAY_HEADER: words} if words else {}
        headers = call_headers(served.anna, "GET", place(task).path, "", NO_BODY) | told
        with caller(served.folder) as client:
            assert client.get(place(task).path, headers=headers).status_code == 200
        assert store.passing(task) is None
    head = f"PUT {where.path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(UPDATE)}\r\n"
    head += head_of(put_headers(served, where, UPDATE) | {WAY_HEADER: way(500, 2_000_500)}) + "\r\n"
    with secure_socket(served.folder) as secure:
        secure.sendall(head.encode() + UPDATE[:1_500_000])
        wait_for(lambda: store.passing(task) is not None)
    half = store.passing(task)
    assert (half.stage, half.total) == ("send", 2_000_500)
    assert 500 < half.done <= 1_500_500
    headers = call_headers(served.anna, "GET", place(task).path, "", NO_BODY) | {WAY_HEADER: way(500, 2_000_500)}
    with caller(served.folder) as client:
        client.get(place(task).path, headers=headers)
    assert store.passing(task) == Passing("fetch", 2_000_500, 2_000_500)


def test_a_hospital_fetches_the_model_of_its_task_whole_and_from_where_it_left_off(served, task):
    whole, rest = fetch(served, place(task)), fetch(served, place(task), 1_500_000)
    assert (whole.status_code, whole.content) == (200, BYTES)
    assert (rest.status_code, rest.content) == (206, BYTES[1_500_000:])
    assert rest.headers["content-range"] == "bytes 1500000-1999999/2000000"


def test_a_range_beyond_the_end_is_refused_in_words(served, task):
    for offset in (2_000_000, 2_000_001, 10**15 - 1):
        answer = fetch(served, place(task), offset)
        assert (answer.status_code, "2000000 bytes" in answer.json()["detail"]) == (416, True)


def test_an_update_is_taken_whole_and_read_as_the_reply_s_segments(served, store, task):
    reply = closed(TrainReply(site=task.site, round=1, results=trained(3), weights={"disease": MODEL + 1}))
    with pytest.raises(ValueError, match="segment disease was not delivered"):
        store.whole(task, reply.without_data())
    where = place(task, UPDATE_SHA256)
    assert put(served, where, UPDATE).status_code == 201
    status, _ = put_refused(served, where, len(UPDATE), put_headers(served, where, UPDATE))
    assert status == 200  # once more: nothing to do
    assert held(served, where) == (200, len(UPDATE))
    whole = store.whole(task, reply.without_data())
    whole.require_intact()
    assert np.array_equal(whole.arrays()["disease"], MODEL + 1)


def test_an_upload_whose_line_broke_goes_on_where_it_stopped(served, store, task):
    where = place(task, UPDATE_SHA256)
    send_half(served, where, UPDATE, 1_500_000)
    status, offset = held(served, where)
    assert status == 202
    status, words = put_refused(served, where, len(UPDATE), put_headers(served, where, UPDATE))
    assert (status, f"{offset} bytes are here" in words) == (409, True)
    assert put(served, where, UPDATE[offset:], offset).status_code == 201
    assert up(served, task) == [UPDATE_SHA256]


def test_a_body_of_another_hash_than_its_name_leaves_nothing_behind(served, task):
    other = UPDATE[:-1] + b"x"
    answer = put(served, place(task, UPDATE_SHA256), other)
    assert answer.status_code == 422
    assert hashlib.sha256(other).hexdigest() in answer.json()["detail"]
    assert up(served, task) == []


def test_a_body_that_is_not_the_signed_one_is_no_whole_object(served, task):
    where = place(task, UPDATE_SHA256)
    headers = put_headers(served, where, UPDATE)
    with caller(served.folder) as client:
        answer = client.put(where.path, headers=headers, content=UPDATE[:-1] + b"x")
    assert answer.status_code == 401
    assert UPDATE_SHA256 not in up(served, task)


def test_a_reply_has_no_more_bytes_than_its_task_allows_and_not_one_is_taken_before_that_is_known(served, task):
    most = MOST_TIMES * len(BYTES) + (1 << 20)
    where = place(task, "1" * 64)

    def refused(length):
        part = content_range(0, length)
        signed = call_headers(served.anna, "PUT", where.path, part, "2" * 64) | {"content-range": part}
        status, words = put_refused(served, where, length, signed)
        return status == 413 and f"may have {most} bytes" in words

    assert refused(most + 1)
    assert put(served, place(task, UPDATE_SHA256), UPDATE).status_code == 201
    assert refused(most - len(UPDATE) + 1)
    assert up(served, task) == [UPDATE_SHA256]


def test_a_thousand_half_finished_uploads_are_a_few_and_go_with_the_round(served, store, task):
    answers = []
    for number in range(MOST_SEGMENTS + 6):
        where = place(task, hashlib.sha256(str(number).encode()).hexdigest())
        head = f"PUT {where.path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n"
        head += head_of(put_headers(served, where, b"x" * 10)) + "\r\n"
        if number >= MOST_SEGMENTS:
            answers.append(raw(served.folder, head + "xxxx"))
            continue
        with secure_socket(served.folder) as secure:
            secure.sendall(head.encode() + b"xxxx")
            wait_for(partial(_has_more_than, served, task, number))
    assert len(up(served, task)) == MOST_SEGMENTS
    assert all(f"may have {MOST_SEGMENTS} objects".encode() in answer for answer in answers)
    store.close(task)
    assert not list(served.folder.objects.glob(f"{RUN}/*/{task.id}"))
    assert not list((served.folder.objects / RUN / "sent").iterdir())


def _has_more_than(served, task, number):
    return len(up(served, task)) > number


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_no_other_hospital_and_no_stranger_comes_to_an_object(served, task, applicant, method):
    where, berta = place(task), applicant("Berta")
    admit(served.folder, berta.file)
    try:
        for key, status in ((berta.key, 404), (new_private_key(), 401)):
            if method == "PUT":
                answer, _ = put_refused(served, where, len(BYTES), put_headers(served, where, BYTES, key=key))
            else:
                answer = fetch(served, where, key=key, method=method).status_code
            assert answer == status
    finally:
        revoke(served.folder, "Berta")


def test_a_call_is_signed_with_its_range_and_taken_once(served, task):
    where = place(task)
    headers = call_headers(served.anna, "GET", where.path, range_from(10), NO_BODY)
    with caller(served.folder) as client:
        assert client.get(where.path, headers=headers | {"range": range_from(11)}).status_code == 401
        assert client.get(where.path, headers=headers | {"range": range_from(10)}).status_code == 206
        assert client.get(where.path, headers=headers | {"range": range_from(10)}).status_code == 401


def test_nothing_can_be_fetched_or_sent_once_the_round_is_closed(served, store, task):
    store.close(task)
    assert fetch(served, place(task)).status_code == 404
    where = place(task, UPDATE_SHA256)
    status, words = put_refused(served, where, len(UPDATE), put_headers(served, where, UPDATE))
    assert (status, "its round is closed" in words) == (404, True)


def test_a_model_of_several_hospitals_lies_there_once(served, store, task):
    other = task.model_copy(update={"site": "Berta"})
    assert store.offer(other, Cargo.of(other.weights)) == len(BYTES)
    assert (served.folder.objects / RUN / "sent" / SHA256).stat().st_nlink == 3
    assert store.offer(other, Cargo.of(other.weights)) == 0  # sent again: nothing new
    store.close(other)
    assert fetch(served, place(task)).status_code == 200
    third = task.model_copy(update={"site": "Carla"})
    store.offer(third, Cargo.of(third.weights))
    assert (served.folder.objects / RUN / "sent" / SHA256).stat().st_nlink == 3  # it shares the file that was kept
    for one in (task, third):
        store.close(one)
    assert not (served.folder.objects / RUN / "sent" / SHA256).exists()


def test_what_a_run_has_left_that_was_killed_goes_when_the_next_one_begins(tmp_path):
    (tmp_path / ("1" * 32) / "sent").mkdir(parents=True)
    (tmp_path / ("1" * 32 + ".lock")).touch()
    store = ObjectStore(tmp_path)
    one = TrainTask(site="a", round=1, run=RUN, weights={"disease": MODEL})
    store.offer(one, Cargo.of(one.weights))
    assert sorted(path.name for path in tmp_path.iterdir()) == [RUN, f"{RUN}.lock"]
    remove_orphans(tmp_path)  # as another run's process would
    store.end()
    assert list(tmp_path.iterdir()) == []
