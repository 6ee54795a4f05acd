from functools import partialmethod

import numpy as np
import pytest

from fedthorax.client.segment_store import LackingSegmentsError
from fedthorax.client.segment_store import SegmentStore as SegmentStoreOfAnySize
from fedthorax.common.messages.reading import read_task
from fedthorax.common.messages.sending import closed
from fedthorax.common.messages.tasks import ModelTask, TrainTask, sent_arrays
from fedthorax.common.model.segments import SEGMENTS, segment_sha256
from fedthorax.common.wire.parcel import Cargo
from fedthorax.common.wire.segment import pack_exactly, pack_whole

from ..told import changed


class SegmentStore(SegmentStoreOfAnySize):
    """Of a model whose segments have two values each."""

    complete = partialmethod(SegmentStoreOfAnySize.complete, sizes=dict.fromkeys(SEGMENTS, 2))


def task(held: tuple[str, ...] = (), **segments: float) -> ModelTask:
    """A task whose model has two values a segment, as it arrives at the hospital: without the segments in ``held``."""
    weights = {name.replace("_", "."): np.array([value, -value], np.float32) for name, value in segments.items()}
    sha256 = {name: segment_sha256(values) for name, values in weights.items()}
    return arrived(TrainTask(site="north", round=1, weights=weights, sha256=sha256, held=held))


def arrived(task: ModelTask) -> ModelTask:
    return read_task(closed(task, Cargo.of(sent_arrays(task))))


def firsts(weights) -> dict[str, float]:
    return {name: float(values[0]) for name, values in weights.items()}


def test_what_came_once_need_not_come_again_even_after_a_restart(tmp_path):
    SegmentStore(tmp_path).complete(task(xray_backbone=1, fusion=2))
    later = task(("xray.backbone",), xray_backbone=1, fusion=3)
    assert set(later.weights) == {"fusion"}
    assert firsts(SegmentStore(tmp_path).complete(later)) == {"xray.backbone": 1, "fusion": 3}


def test_what_was_never_sent_is_named(tmp_path):
    with pytest.raises(LackingSegmentsError, match=r"does not hold ct\.backbone of the model") as caught:
        SegmentStore(tmp_path).complete(task(("ct.backbone",), ct_backbone=1, fusion=2))
    assert caught.value.segments == ("ct.backbone",)


def test_a_damaged_file_counts_as_missing(tmp_path):
    store = SegmentStore(tmp_path)
    store.complete(task(fusion=2))
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"\0" * 8)
    with pytest.raises(LackingSegmentsError):
        store.complete(task(("fusion",), fusion=2))


def test_the_same_values_are_written_once_and_again_where_the_file_was_found_damaged_or_gone(tmp_path):
    store, same = SegmentStore(tmp_path), task(fusion=2)
    store.complete(same)
    (file,) = tmp_path.iterdir()
    first = file.stat().st_ino
    store.complete(same)
    assert file.stat().st_ino == first
    file.write_bytes(b"\0" * 8)
    with pytest.raises(LackingSegmentsError):
        store.complete(task(("fusion",), fusion=2))
    store.complete(same)
    assert firsts(store.complete(task(("fusion",), fusion=2))) == {"fusion": 2}
    file.unlink()
    store.complete(same)
    assert firsts(store.complete(task(("fusion",), fusion=2))) == {"fusion": 2}


def test_three_versions_are_kept_the_ones_used_last(tmp_path):
    store = SegmentStore(tmp_path)
    for value in (1, 2, 3):
        store.complete(task(fusion=value))
    store.complete(task(("fusion",), fusion=1))
    store.complete(task(fusion=4))
    assert firsts(store.complete(task(("fusion",), fusion=1))) == {"fusion": 1}
    with pytest.raises(LackingSegmentsError):
        store.complete(task(("fusion",), fusion=2))
    assert len(list(tmp_path.iterdir())) == 3


def test_the_best_model_stays_however_many_come_after_it(tmp_path):
    store = SegmentStore(tmp_path)
    store.complete(task(fusion=1))
    best = {"fusion": segment_sha256(np.array([1, -1], np.float32))}
    for value in range(2, 9):
        store.complete(changed(task(fusion=value), best=best))
    assert firsts(store.complete(task(("fusion",), fusion=1))) == {"fusion": 1}


def difference(before: float, after: float) -> ModelTask:
    """A task whose one segment comes as the difference to another model's."""
    base, values = (np.array([value, -value], np.float32) for value in (before, after))
    frame = pack_exactly(values, base, segment_sha256(base))
    sha256 = {"fusion": segment_sha256(values)}
    return arrived(TrainTask(site="north", round=1, sha256=sha256, packed={"fusion": frame}))


def test_a_difference_is_added_to_what_is_held_and_the_sum_is_held_too(tmp_path):
    store = SegmentStore(tmp_path)
    store.complete(task(fusion=2))
    assert firsts(store.complete(difference(2, 3))) == {"fusion": 3}
    assert firsts(store.complete(task(("fusion",), fusion=3))) == {"fusion": 3}
    assert firsts(store.complete(difference(7, 3))) == {"fusion": 3}  # it is here: the base is not needed


def test_a_difference_without_its_base_is_lacking_and_a_whole_packed_segment_is_enough(tmp_path):
    store = SegmentStore(tmp_path)
    with pytest.raises(LackingSegmentsError):
        store.complete(difference(2, 3))
    whole = changed(task(fusion=3), packed={"fusion": pack_whole(np.array([3, -3], np.float32))}, weights={})
    assert firsts(store.complete(whole)) == {"fusion": 3}


def test_a_difference_that_adds_up_to_something_else_comes_again_as_a_whole(tmp_path):
    store = SegmentStore(tmp_path)
    store.complete(task(fusion=2))
    other = changed(difference(2, 3), sha256=task(fusion=4).sha256)
    with pytest.raises(LackingSegmentsError):
        store.complete(other)


def test_a_damaged_difference_is_refused_with_its_segment(tmp_path):
    store = SegmentStore(tmp_path)
    store.complete(task(fusion=2))
    came = difference(2, 3)
    data = came.packed["fusion"].copy()
    data[-1] ^= 1
    with pytest.raises(ValueError, match="segment fusion: at byte 0: damaged, its checksum is"):
        store.complete(changed(came, packed={"fusion": data}))


def test_values_that_are_not_the_ones_named_are_refused(tmp_path):
    other = changed(task(fusion=2), weights={"fusion": np.zeros(2, np.float32)})
    with pytest.raises(ValueError, match="segment fusion: the values that came have another hash"):
        SegmentStore(tmp_path).complete(other)


@pytest.mark.parametrize(("name", "sha256"), [("../keys", "0" * 64), ("fusion", "../../site.yaml")])
def test_a_name_from_the_server_never_becomes_a_path(tmp_path, name, sha256):
    with pytest.raises(ValueError, match="that is none of the model's"):
        SegmentStore(tmp_path).complete(TrainTask(site="north", round=1, sha256={name: sha256}))


def test_without_a_folder_every_task_has_to_bring_the_whole_model():
    store = SegmentStore()
    assert firsts(store.complete(task(fusion=2))) == {"fusion": 2}
    with pytest.raises(LackingSegmentsError):
        store.complete(task(("fusion",), fusion=2))


@pytest.mark.parametrize("packed", [False, True])
def test_a_segment_of_another_size_than_the_networks_is_refused(tmp_path, packed):
    values = np.zeros(3, np.float32)
    came = {"packed": {"fusion": pack_whole(values)}} if packed else {"weights": {"fusion": values}}
    with pytest.raises(ValueError, match=r"segment fusion: .*3 values.*, expected 2"):
        SegmentStore(tmp_path).complete(TrainTask(site="north", round=1, sha256={"fusion": "0" * 64}, **came))
