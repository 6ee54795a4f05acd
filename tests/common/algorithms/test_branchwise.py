"""Every part of the model is weighed by what stands behind it: hand-sized numbers."""

from typing import ClassVar

import numpy as np

from fedthorax.common.algorithms.aggregation import MaskedSum
from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.model.segments import SEGMENTS, Slot
from fedthorax.common.training.branch_counts import parts_of


class Layout:
    """One value an encoder segment; fusion: two values, then a token of two for X-ray; two findings with two inputs."""

    sizes: ClassVar = {**dict.fromkeys(SEGMENTS, 1), "fusion": 4, "disease": 6}
    slots: ClassVar = {
        "fusion": (Slot("fusion_dense_1/kernel", (2,), 0, 2), Slot("fusion_xray_token/kernel", (1, 2), 2, 4)),
    }


COUNTS = {"xray": 10, "ct": 10, "fusion": 10, "xray_token": 2, "ct_token": 0, "findings": [10, 10], "cancer": 10}


def model(value: float) -> dict[str, np.ndarray]:
    return {name: np.full(size, value, np.float32) for name, size in Layout.sizes.items()}


def averaged(*updates) -> dict[str, list[float]]:
    average = FederatedAverage(Layout.sizes, parts_of(Layout, SEGMENTS, 2))
    for weights, counts in updates:
        average.add(weights, COUNTS | counts)
    return {name: values.tolist() for name, values in average.result(model(-1)).items()}


def test_the_parts_cover_every_value_once():
    for segment, size in Layout.sizes.items():
        covered = np.zeros(size, int)
        for part in parts_of(Layout, [segment], 2):
            covered[part.where] += 1
        assert covered.tolist() == [1] * size


def test_an_encoder_is_weighed_by_its_images_and_fusion_by_pairs():
    result = averaged((model(0), {"xray": 30, "ct": 10}), (model(4), {"xray": 10, "ct": 30, "fusion": 30}))
    assert (result["xray.backbone"], result["xray.projection"]) == ([1], [1])
    assert result["ct.backbone"] == [3]
    assert result["fusion"][:2] == [3, 3]
    assert result["cancer"] == [2]


def test_a_hospital_without_ct_does_not_touch_the_ct_encoder():
    alone = {name: values for name, values in model(4).items() if not name.startswith("ct.")}
    result = averaged((model(0), {}), (alone, {"ct": 0, "cancer": 0}))
    assert (result["xray.backbone"], result["ct.backbone"], result["cancer"]) == ([2], [0], [0])


def test_a_token_is_weighed_by_the_pairs_in_which_it_stood_for_the_image():
    assert averaged((model(0), {"xray_token": 1}), (model(4), {"xray_token": 3}))["fusion"] == [2, 2, 3, 3]


def test_a_finding_that_a_hospital_never_annotates_is_not_washed_out_there():
    """Values of the head: two inputs times two findings, then two biases; the second finding is every other one."""
    result = averaged((model(0), {"findings": [10, 0]}), (model(4), {"findings": [30, 7]}))
    assert result["disease"] == [3, 4, 3, 4, 3, 4]


def test_values_that_nobody_moves_keep_their_bits_in_every_part():
    tiny = model(3e-13)
    average = FederatedAverage(Layout.sizes, parts_of(Layout, SEGMENTS, 2))
    for pairs in (3, 8):
        average.add(tiny | {"cancer": np.float32([pairs])}, COUNTS)
    found = average.result(tiny)
    assert found.pop("cancer").tolist() == [5.5]
    assert all(values.tobytes() == tiny[name].tobytes() for name, values in found.items())


def test_what_nobody_has_anything_to_say_about_stays_as_it_was():
    result = averaged((model(0), {"findings": [1, 0], "xray_token": 0}))
    assert result["disease"] == [0, -1, 0, -1, 0, -1]
    assert result["fusion"] == [0, 0, -1, -1]


def test_where_all_hospitals_are_equal_it_is_federated_averaging_to_the_bit():
    random = np.random.default_rng(11)
    updates = [{n: random.normal(0, 2, s).astype(np.float32) for n, s in Layout.sizes.items()} for _ in range(3)]
    plain = FederatedAverage(Layout.sizes)
    branchwise = FederatedAverage(Layout.sizes, parts_of(Layout, SEGMENTS, 2))
    equal = {"xray": 12, "ct": 20, "fusion": 20, "xray_token": 3, "ct_token": 3, "findings": [11, 5], "cancer": 19}
    for update in updates:
        plain.add(update, 20)
        branchwise.add(update, equal)
    expected, result = plain.result(model(-1)), branchwise.result(model(-1))
    assert all(result[name].tobytes() == expected[name].tobytes() for name in SEGMENTS)


def test_a_masked_sum_of_parts_without_the_fusion_has_examples_behind_it_too():
    average = FederatedAverage(Layout.sizes, parts_of(Layout, ("cancer",), 2))
    halves = np.array([3 << 8], np.int64), np.array([0], np.int64)  # three slices whose values are 1: 2^40 steps
    average.add_sums([MaskedSum("cancer", slice(0, 1), *halves, 3)])
    assert average.num_examples == 3
    assert average.result(model(-1))["cancer"].tolist() == [1]


def test_an_update_that_is_taken_out_again_leaves_nothing_of_it():
    average = FederatedAverage(Layout.sizes, parts_of(Layout, SEGMENTS, 2))
    average.add(model(4), COUNTS | {"xray": 7})
    average.add(model(0), COUNTS)
    average.remove(model(4), COUNTS | {"xray": 7})
    found = {name: values.tolist() for name, values in average.result(model(-1)).items()}
    assert found == averaged((model(0), {}))
    assert average.num_examples == COUNTS["fusion"]
