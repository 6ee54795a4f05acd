import numpy as np
import pytest

from fedthorax.common.model.segments import BACKBONE_SEGMENTS, HEAD_SEGMENTS

UNKNOWN = np.float32("nan")


def pooled_batch(network, disease, cancer):
    random = np.random.default_rng(1)
    rows, width = len(disease), network.pooled_width("xray")
    xray, ct = random.normal(size=(2, rows, width)).astype(np.float32)
    return xray, ct, np.asarray(disease, np.float32), np.asarray(cancer, np.int32)


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_the_heads_phase_leaves_the_backbones_as_they_were(fresh):
    before = fresh.layout.read()
    fresh.start("heads", seed=1)
    fresh.set_learning_rate("heads", 0.01)
    fresh.step_on_pooled(*pooled_batch(fresh, [[1, 0, 1], [0, 1, 0]], [0, 1]))
    assert changed(before, fresh.layout.read()) == set(HEAD_SEGMENTS)
    assert fresh.trained_segments("heads") == HEAD_SEGMENTS


@pytest.mark.ci
def test_the_whole_network_learns_in_a_phase_of_all(fresh, draw_images):
    images = draw_images(4, 4)
    before = fresh.layout.read()
    fresh.start("all", seed=1)
    fresh.set_learning_rate("all", 0.01)
    pixels = (part.images.astype(np.float32) for part in (images.xray, images.ct))
    fresh.step_on_images(*pixels, images.xray.targets, images.ct.targets)
    assert changed(before, fresh.layout.read()) >= set(BACKBONE_SEGMENTS)


def test_a_step_reports_sums_over_the_known_labels_only(fresh):
    fresh.start("heads", seed=1)
    disease = [[1, UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN, 0]]
    sums = fresh.step_on_pooled(*pooled_batch(fresh, disease, [-1, 1])).numpy()
    assert (sums[1], sums[3]) == (2, 1)


def test_a_head_without_a_known_label_does_not_change(fresh):
    before = fresh.layout.read()
    fresh.start("heads", seed=1)
    fresh.set_learning_rate("heads", 0.01)
    fresh.step_on_pooled(*pooled_batch(fresh, np.full((2, 3), UNKNOWN), [0, 1]))
    after = fresh.layout.read()
    assert "cancer" in changed(before, after)
    assert "disease" not in changed(before, after)


def test_a_new_task_begins_with_a_fresh_optimiser(fresh):
    def two_steps():
        fresh.layout.write(fresh.starting_weights)
        fresh.start("heads", seed=1)
        fresh.set_learning_rate("heads", 0.01)
        for _ in range(2):
            fresh.step_on_pooled(*pooled_batch(fresh, [[1, 0, 1], [0, 1, 0]], [0, 1]))
        return fresh.layout.read()

    assert changed(two_steps(), two_steps()) == set()
