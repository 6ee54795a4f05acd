"""Replies that are kept, also over a crash."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from fedthorax.client.site.durable import KEEP_SECONDS, ReplyStore
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import TrainTask

from ...told import trained

ID, OTHER = "a" * 64, "b" * 64
TASK = TrainTask(site="north", round=2)
REPLY = closed(
    TrainReply(
        site="north", round=2, results=trained(7), weights={"disease": np.array([1, -2], np.float32)}, task_id=ID
    )
)


@pytest.fixture
def store(tmp_path: Path) -> ReplyStore:
    return ReplyStore(tmp_path / "replies")


def test_a_kept_reply_is_given_again_by_another_process(store: ReplyStore) -> None:
    store.save(ID, "asked", REPLY)
    loaded = ReplyStore(store.folder).load(ID, "asked")
    assert loaded is not None
    assert (loaded.address, loaded.manifest, loaded.text) == (REPLY.address, REPLY.manifest, REPLY.text)
    again = read_reply(loaded, TASK)
    assert isinstance(again, TrainReply)
    assert (again.weights["disease"].tolist(), again.num_pairs, again.task_id) == ([1, -2], 7, ID)


def test_a_reply_is_readable_by_its_owner_alone(store: ReplyStore) -> None:
    store.save(ID, "asked", REPLY)
    (path,) = store.folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_reply_or_one_to_another_question_is_done_again(store: ReplyStore) -> None:
    store.save(ID, "asked", REPLY)
    path = store.folder / f"{ID}.reply"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert store.load(ID, "asked") is None
    store.save(ID, "asked", REPLY)
    assert store.load(ID, "something else") is None
    assert list(store.folder.iterdir()) == []


def test_what_the_server_has_is_forgotten_and_nothing_else(store: ReplyStore) -> None:
    store.save(ID, "asked", REPLY)
    store.save(OTHER, "asked", REPLY)
    outside = store.folder.parent / "precious.reply"
    outside.write_text("")
    store.forget([ID, "../precious"])
    assert [path.name for path in store.folder.iterdir()] == [f"{OTHER}.reply"]
    assert outside.exists()


def test_a_reply_that_nobody_acknowledged_is_removed_after_a_month(store: ReplyStore) -> None:
    store.save(ID, "asked", REPLY)
    before = time.time() - KEEP_SECONDS - 1
    os.utime(store.folder / f"{ID}.reply", (before, before))
    store.forget([])
    assert list(store.folder.iterdir()) == []


def test_attempts_are_counted_until_one_ends(store: ReplyStore) -> None:
    assert [store.begin(ID) for _ in range(3)] == [0, 1, 2]
    store.save(ID, "asked", REPLY)
    assert store.begin(ID) == 0
    store.end(ID)
    assert store.begin(ID) == 0
