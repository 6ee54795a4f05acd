"""The common model as differences: what a hospital that holds one gets, and that nothing is lost."""

import itertools

import numpy as np
import pytest

from fedthorax.common.model.segments import segment_sha256
from fedthorax.common.wire.pack import read_packs
from fedthorax.common.wire.segment import MOST_STEPS, unpack
from fedthorax.server.broadcast import Broadcast

SIZE = 1000


def models(count: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    """What the hospitals' mean is after each round; ``ct`` is frozen."""
    rng = np.random.default_rng(seed)
    frozen, values = np.ones(SIZE, np.float32), rng.normal(0, 0.05, SIZE)
    made = []
    for _ in range(count):
        values = values + rng.normal(0, 1e-3, SIZE)
        made.append({"xray": values.astype(np.float32), "ct": frozen})
    return made


def told(broadcast: Broadcast, means: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
    """The common models, the first of which is the first mean itself."""
    common = [means[0]]
    for before, after in itertools.pairwise(means):
        change = {"xray": common[-1]["xray"] + (after["xray"] - before["xray"]), "ct": after["ct"]}
        common.append(broadcast.following(common[-1], change))
    return common


def hashes(model: dict[str, np.ndarray]) -> dict[str, str]:
    return {name: segment_sha256(values) for name, values in model.items()}


def holder(*held: dict[str, np.ndarray]):
    known = {(name, segment_sha256(values)): values for model in held for name, values in model.items()}
    return known, lambda name, digest: (name, digest) in known


def arrives(broadcast: Broadcast, model: dict[str, np.ndarray], *held: dict[str, np.ndarray]) -> np.ndarray:
    known, holds = holder(*held)
    data = broadcast.differences(hashes(model), holds)["xray"]
    return unpack(data, lambda digest: known.get(("xray", digest)), model["xray"].size, MOST_STEPS)


@pytest.mark.parametrize("codec", ["lossless", "int8", "int4"])
def test_who_holds_the_model_before_gets_the_difference_and_the_same_bits(codec):
    broadcast = Broadcast(codec)
    common = told(broadcast, models(3))
    assert arrives(broadcast, common[2], common[1]).tobytes() == common[2]["xray"].tobytes()


def test_a_hospital_that_missed_rounds_gets_the_differences_of_these():
    broadcast = Broadcast("int4")
    common = told(broadcast, models(8))
    assert arrives(broadcast, common[7], common[7 - MOST_STEPS]).tobytes() == common[7]["xray"].tobytes()
    _, holds = holder(common[7 - MOST_STEPS - 1])
    assert broadcast.differences(hashes(common[7]), holds) == {}


def test_the_newest_model_that_is_held_is_the_base():
    broadcast = Broadcast("int4")
    common = told(broadcast, models(6))
    _, holds = holder(common[3], common[4])
    assert len(list(read_packs(broadcast.differences(hashes(common[5]), holds)["xray"]))) == 1


@pytest.mark.parametrize("codec", ["float32", "lossless", "int4"])
def test_no_difference_goes_to_who_holds_the_model_or_nothing_or_for_another_model(codec):
    broadcast = Broadcast(codec)
    common = told(broadcast, models(4))
    assert broadcast.differences(hashes(common[3]), holder(common[3])[1]) == {}
    assert broadcast.differences(hashes(common[3]), holder()[1]) == {}
    assert broadcast.differences(hashes(common[1]), holder(common[0])[1]) == {}


@pytest.mark.parametrize("codec", ["float32", "lossless"])
def test_without_rounding_the_common_model_is_the_mean(codec):
    before, after = models(2)
    found = Broadcast(codec).following(before, after)
    assert {name: values.tobytes() for name, values in found.items()} == {
        name: values.tobytes() for name, values in after.items()
    }


def test_two_lossless_steps_are_more_than_the_whole_and_are_not_sent():
    broadcast = Broadcast("lossless")
    common = told(broadcast, models(4))
    assert broadcast.differences(hashes(common[3]), holder(common[1])[1]) == {}


@pytest.mark.parametrize("codec", ["int8", "int4"])
def test_what_rounding_leaves_out_comes_in_the_rounds_after(codec):
    broadcast, (start, target) = Broadcast(codec), models(2)
    common = broadcast.following(start, target)
    first = np.abs(common["xray"] - target["xray"]).max()
    for _ in range(5):
        common = broadcast.following(common, common | {})  # nothing new: the arrays are the same
    assert np.abs(common["xray"] - target["xray"]).max() == first > 0
    for _ in range(5):
        common = broadcast.following(common, {"xray": common["xray"].copy(), "ct": common["ct"]})
    assert np.abs(common["xray"] - target["xray"]).max() < first / 100


def test_state_goes_through_a_checkpoint_and_the_next_model_has_the_same_bits():
    means = models(6)
    whole, half = Broadcast("int4"), Broadcast("int4")
    undisturbed = told(whole, means)
    common = told(half, means[:4])
    stored = {name: np.array(values) for name, values in half.state.items()}
    resumed = Broadcast("int4", state=stored)
    for before, after in itertools.pairwise(means[3:]):
        change = {"xray": common[-1]["xray"] + (after["xray"] - before["xray"]), "ct": after["ct"]}
        common.append(resumed.following(common[-1], change))
    assert common[-1]["xray"].tobytes() == undisturbed[-1]["xray"].tobytes()
    assert arrives(resumed, common[-1], common[-4]).tobytes() == common[-1]["xray"].tobytes()


def test_values_that_are_to_stay_exact_are_the_mean():
    before, after = models(2)
    found = Broadcast("int4", lambda segment: [(10, 20)]).following(before, after)
    assert found["xray"][10:20].tobytes() == after["xray"][10:20].tobytes()
    assert found["xray"].tobytes() != after["xray"].tobytes()
