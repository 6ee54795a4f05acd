import threading
from dataclasses import replace

import numpy as np
import pytest

from fedthorax.common.pairing import training_pairs
from fedthorax.common.training import batches as module
from fedthorax.common.training.batches import image_batches


def numbered(images, count):
    """The same X-rays with each one's number as the value of all its pixels."""
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 32, 32, 3))
    return replace(images, xray=replace(images.xray, images=pixels))


def pairs_of(images):
    return training_pairs(images.xray.patients, images.ct.patients, "random", "longest", 1)


@pytest.fixture
def plainly(fresh, monkeypatch):
    """A network whose images are not augmented."""
    training = fresh.experiment.training
    augmentation = training.augmentation.model_copy(update={"enabled": False})
    changed = training.model_copy(update={"augmentation": augmentation})
    monkeypatch.setattr(fresh, "experiment", fresh.experiment.model_copy(update={"training": changed}))
    fresh.__dict__.pop("augmented", None)
    yield fresh
    fresh.__dict__.pop("augmented", None)


def test_an_epoch_has_every_image_beside_its_own_labels(plainly, draw_images):
    images = numbered(draw_images(5, 3), 5)
    seen = []
    for xray, _, disease, _ in image_batches(plainly, images, pairs_of(images), 1):
        rows = np.asarray(xray)[:, 0, 0, 0].astype(int)
        assert xray.dtype == "float32"
        assert np.array_equal(disease, images.xray.targets[rows])
        seen += list(rows)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_the_same_seed_changes_images_the_same_way_and_another_seed_another_way(fresh, draw_images):
    images = draw_images(5, 3)
    first, again, other = (
        np.concatenate([batch[0] for batch in image_batches(fresh, images, pairs_of(images), seed)])
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_batches_come_in_their_order_when_the_first_takes_longest(plainly, draw_images, monkeypatch):
    images, second_is_made, made = numbered(draw_images(6, 6), 6), threading.Event(), []
    pairs, gather = pairs_of(images), module.presence_of

    def slow_first(network, x, c):
        made.append(tuple(x))
        if tuple(x) == tuple(pairs.xray[: len(x)]):
            assert second_is_made.wait(60)
        else:
            second_is_made.set()
        return gather(network, x, c)

    monkeypatch.setattr(module, "presence_of", slow_first)
    came = [np.asarray(batch[0])[:, 0, 0, 0] for batch in image_batches(plainly, images, pairs, 1)]
    assert len(came) == len(made) > 1
    assert np.array_equal(np.concatenate(came), pairs.xray)


def test_what_goes_wrong_in_a_thread_reaches_who_asked(fresh, draw_images, monkeypatch):
    images = draw_images(5, 3)
    monkeypatch.setattr(module, "targets_of", lambda *_: (_ for _ in ()).throw(OSError("the disk is gone")))
    with pytest.raises(OSError, match="the disk is gone"):
        next(image_batches(fresh, images, pairs_of(images), 1))


def test_an_epoch_that_is_left_early_leaves_no_thread_behind(fresh, draw_images):
    images = draw_images(9, 9)
    batches = image_batches(fresh, images, pairs_of(images), 1)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
