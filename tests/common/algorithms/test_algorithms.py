"""Strategies on problems whose answer is known: by hand, from the paper's formula, or from Flower's own functions."""

import ast
import itertools
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from flwr.server.strategy.aggregate import (
    aggregate_bulyan,
    aggregate_krum,
    aggregate_median,
    aggregate_qffl,
    aggregate_trimmed_avg,
)

from fedthorax.common.algorithms import TABLE, algorithm_of
from fedthorax.common.algorithms.algorithm import Algorithm, Refuses, RoundShape, Update
from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.algorithms.settings import StrategySettings
from fedthorax.common.config.load import load_experiment

ROOT = Path(__file__).resolve().parents[3]
SHAPE = RoundShape({"fusion": 2}, None, {})
ZERO = {"fusion": np.zeros(2, np.float32)}


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def update(site: str, values: np.ndarray, pairs: int = 1, loss: float | None = 1.0) -> Update:
    return Update(site, {"fusion": values}, pairs, {}, loss, {"fusion": -values})


def one_round(name: str, updates: list[Update], before=ZERO, state: Mapping[str, Any] | None = None, **settings):
    shape = RoundShape({"fusion": before["fusion"].size}, None, {})
    aggregate = algorithm_of(name).aggregate(StrategySettings(**settings), shape)
    for one in updates:
        aggregate.add(one)
    found, kept = aggregate.result(before, state or {})
    aggregate.close()
    return found["fusion"], kept


def drawn(sites: int, size: int = 40, spoilt: int = 0, seed: int = 1) -> list[Update]:
    """Hospitals near one another, of which the last few send noise a hundred times as large."""
    random = np.random.default_rng(seed)
    scale = [100.0 if site >= sites - spoilt else 1.0 for site in range(sites)]
    return [update(f"s{i}", random.normal(0, scale[i], size).astype(np.float32), i + 1) for i in range(sites)]


def before(size: int = 40) -> dict[str, np.ndarray]:
    return {"fusion": np.zeros(size, np.float32)}


def as_flower(updates: list[Update]) -> list[tuple[list[np.ndarray], int]]:
    return [([one.weights["fusion"].astype(np.float64)], one.num_pairs) for one in updates]


def test_fedavg_is_the_mean_by_pairs():
    found, _ = one_round("fedavg", [update("a", vector(0, 4), 1), update("b", vector(4, 0), 3)])
    assert found.tolist() == [3, 1]


@pytest.mark.parametrize("name", list(TABLE))
def test_an_update_that_is_taken_out_again_leaves_no_bit(name):
    updates = drawn(8)

    def result(added: list[Update], removed: list[Update]) -> bytes:
        aggregate = algorithm_of(name).aggregate(
            StrategySettings(malicious_sites=1), RoundShape({"fusion": 40}, None, {})
        )
        for one in added:
            aggregate.add(one)
        for one in removed:
            aggregate.remove(one)
        found, kept = aggregate.result(before(), {})
        aggregate.close()
        return b"".join([found["fusion"].tobytes(), *(kept[name].tobytes() for name in sorted(kept))])

    assert result(updates, updates[3:4]) == result([*updates[:3], *updates[4:]], [])
    assert result(updates, updates[3:4]) != result(updates, [])


@pytest.mark.parametrize("name", list(TABLE))
def test_hospitals_that_agree_are_followed(name):
    """Seven hospitals that send the same model: every strategy moves towards it, or becomes it."""
    same = [update(f"s{i}", vector(1, -2), 5) for i in range(7)]
    found, _ = one_round(name, same, malicious_sites=1, server_learning_rate=1.0 if name != "fedadam" else None)
    assert found[0] > 0
    assert found[1] < 0
    if name in (
        "fedavg",
        "fedprox",
        "fedbn",
        "scaffold",
        "fedavgm",
        "median",
        "trimmed_mean",
        "krum",
        "multi_krum",
        "bulyan",
    ):
        assert found.tolist() == [1, -2]


@pytest.mark.parametrize("name", list(TABLE))
def test_any_order_of_arrival_gives_the_same_bits(name):
    updates = drawn(7, size=9)
    orders = itertools.islice(itertools.permutations(updates), 0, 5040, 977)
    assert len({one_round(name, list(order), before(9))[0].tobytes() for order in orders}) == 1


def test_a_loss_beyond_any_models_does_not_own_the_mean_nor_end_the_run():
    aggregate = algorithm_of("qfedavg").aggregate(StrategySettings(fairness=2.0), SHAPE)
    with pytest.raises(ValueError, match=r"and 1e\+300 would own the mean"):
        aggregate.add(update("a", vector(2, 2), loss=1e300))
    aggregate.close()


def test_fedbn_averages_all_but_what_stays_at_the_hospitals():
    shape = RoundShape({"fusion": 3}, None, {}, {"fusion": (slice(1, 2),)})
    aggregate = algorithm_of("fedbn").aggregate(StrategySettings(), shape)
    for one in (update("a", vector(0, 50, 4)), update("b", vector(2, 70, 8))):
        aggregate.add(one)
    found, state = aggregate.result({"fusion": vector(9, 7, 9)}, {})
    assert found["fusion"].tolist() == [1, 7, 6]
    assert state == {}


def test_momentum_goes_on_in_the_direction_of_the_last_rounds():
    found, state = one_round("fedavgm", [update("a", vector(1, 0))], server_momentum=0.5)
    assert found.tolist() == [1, 0]
    again, _ = one_round("fedavgm", [update("a", found)], {"fusion": found}, state, server_momentum=0.5)
    assert again.tolist() == [1.5, 0]  # the hospital asks for nothing more; half of the last step follows


FORMULAS = {
    # One step of 2 from 0 with first share 0.5, second share 0.75, adaptivity 0.5: its square 0.25 begins the second.
    "fedadam": 1.0 / ((0.75 * 0.25 + 0.25 * 4) ** 0.5 + 0.5),
    "fedyogi": 1.0 / ((0.25 + 0.25 * 4) ** 0.5 + 0.5),
    "fedadagrad": 2.0 / ((0.25 + 4) ** 0.5 + 0.5),
}


@pytest.mark.parametrize(("name", "expected"), FORMULAS.items())
def test_an_adaptive_step_is_that_of_the_paper(name, expected):
    settings = {"server_momentum": 0.5, "second_momentum": 0.75, "adaptivity": 0.5, "server_learning_rate": 0.1}
    found, _ = one_round(name, [update("a", vector(2, -2))], **settings)
    assert found.tolist() == pytest.approx([0.1 * expected, -0.1 * expected])


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_quadratic_is_minimised(name):
    """Two hospitals whose own minima are 1 and 3 move a tenth of the way: the common minimum is 2."""
    rate = 5.0 if name == "fedadagrad" else 0.3  # its steps shrink for ever
    weights, state = {"fusion": vector(10, -10)}, {}
    for _ in range(600):
        own = [update(s, weights["fusion"] + 0.1 * (m - weights["fusion"])) for s, m in (("a", 1), ("b", 3))]
        found, state = one_round(name, own, weights, state, server_learning_rate=rate, adaptivity=0.1)
        weights = {"fusion": found}
    assert found.tolist() == pytest.approx([2, 2], abs=0.05)


def test_moving_statistics_become_the_mean_and_take_no_step():
    shape = RoundShape({"fusion": 2}, None, {"fusion": (slice(1, 2),)})
    aggregate = algorithm_of("fedadam").aggregate(StrategySettings(), shape)
    aggregate.add(update("a", vector(5, 5)))
    found, _ = aggregate.result(ZERO, {})
    assert found["fusion"][1] == 5
    assert found["fusion"][0] < 1


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi"])
def test_momentum_of_an_earlier_phase_moves_nothing_that_is_frozen_now(name):
    found, state = one_round(name, [update("a", vector(1, 1))])
    shape = RoundShape({"fusion": 2}, None, {}, frozen={"fusion": (slice(1, 2),)})
    aggregate = algorithm_of(name).aggregate(StrategySettings(), shape)
    aggregate.add(update("a", found))  # asks for nothing more
    after, kept = aggregate.result({"fusion": found}, state)
    assert after["fusion"][0] > found[0]
    assert after["fusion"][1] == found[1]
    assert kept["first.fusion"][1] == state["first.fusion"][1]  # should it be trained again


@pytest.mark.parametrize("sites", [5, 6])
def test_the_median_is_flowers(sites):
    updates = drawn(sites)
    expected = aggregate_median(as_flower(updates))[0]
    assert np.allclose(one_round("median", updates, before())[0], expected, atol=1e-6)


def test_the_trimmed_mean_is_flowers():
    updates = drawn(7)
    expected = aggregate_trimmed_avg(as_flower(updates), 0.2)[0]
    assert np.allclose(one_round("trimmed_mean", updates, before(), trim=0.2)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("sites", "malicious"), [(5, 1), (9, 2)])
def test_krum_is_flowers(sites, malicious):
    updates = drawn(sites, spoilt=malicious)
    expected = aggregate_krum(as_flower(updates), malicious, 0)[0]
    found, _ = one_round("krum", updates, before(), malicious_sites=malicious)
    assert np.array_equal(found, expected.astype(np.float32))


def test_multi_krum_is_the_mean_of_krums_best():
    updates = [update(s, vector(v, 0)) for s, v in (("a", 0), ("b", 1), ("c", 2), ("d", 3), ("wild", 1000))]
    assert one_round("multi_krum", updates)[0].tolist() == [1.5, 0]


@pytest.mark.parametrize(("sites", "malicious"), [(7, 1), (11, 2)])
def test_bulyan_is_flowers(sites, malicious):
    updates = drawn(sites, spoilt=malicious)
    expected = aggregate_bulyan(as_flower(updates), malicious, aggregate_krum, to_keep=0)[0]
    found, _ = one_round("bulyan", updates, before(), malicious_sites=malicious)
    assert np.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "krum", "multi_krum", "bulyan"])
def test_a_spoilt_hospital_moves_the_mean_far_and_the_robust_ones_hardly(name):
    updates = drawn(7, spoilt=1)
    assert np.abs(one_round("fedavg", updates, before())[0]).max() > 20
    assert np.abs(one_round(name, updates, before())[0]).max() < 4


def test_a_share_that_is_a_whole_number_of_hospitals_is_cut_off_whole():
    """0.29 * 100 is 28.999999999999996 in binary."""
    updates = [update(f"s{number:03}", vector(1000.0 if number < 29 else number, 0)) for number in range(100)]
    found, _ = one_round("trimmed_mean", updates, trim=0.29)
    assert found[0] == np.float32(np.mean([*range(58, 100)]))


STATISTICS = RoundShape({"fusion": 3}, None, {"fusion": (slice(2, 3),)})  # two trained values and a moving statistic


def with_statistics(name: str, updates: list[Update]) -> list[float]:
    aggregate = algorithm_of(name).aggregate(StrategySettings(malicious_sites=1), STATISTICS)
    for one in updates:
        aggregate.add(one)
    found = aggregate.result({"fusion": vector(0, 0, 1)}, {})[0]["fusion"].tolist()
    aggregate.close()
    return found


@pytest.mark.parametrize("name", ["krum", "multi_krum", "bulyan"])
def test_moving_statistics_do_not_decide_who_is_chosen(name):
    """The best by what is trained has the statistics that are farthest from the others'."""
    honest = [update(f"s{i}", vector(i, 0, 300 if i == 3 else i)) for i in range(7)]
    plain = [update(f"s{i}", vector(i, 0, 1)) for i in range(7)]
    assert with_statistics(name, honest)[:2] == with_statistics(name, plain)[:2]


@pytest.mark.parametrize("name", ["krum", "multi_krum", "bulyan"])
def test_who_is_chosen_for_its_weights_brings_no_statistics_of_its_own(name):
    updates = [update(f"s{i}", vector(i, 0, 1e6 if i == 3 else 1 + i / 10)) for i in range(7)]
    assert with_statistics(name, updates)[2] == pytest.approx(1.4)


def test_moving_statistics_do_not_make_a_step_of_qfedavg_shorter():
    shape = RoundShape({"fusion": 2}, None, {"fusion": (slice(1, 2),)})
    found = {}
    for moved in (0, 300):
        aggregate = algorithm_of("qfedavg").aggregate(StrategySettings(fairness=1.0), shape)
        for site in "ab":
            aggregate.add(update(site, vector(1, moved), loss=0.5))
        found[moved] = aggregate.result(ZERO, {})[0]["fusion"].tolist()
        aggregate.close()
    # The paper's formula, d = 1 and F = 1/2 at both: 2 F d / 2 (d^2 + F).
    assert found == {0: pytest.approx([1 / 3, 0]), 300: pytest.approx([1 / 3, 300])}


def test_qfedavg_is_flowers():
    start = {"fusion": np.zeros(40, np.float32)}
    updates = [update(f"s{i}", one.weights["fusion"], 1, 0.5 + i) for i, one in enumerate(drawn(3))]
    q, inverse = 2.0, 1 / 0.5
    deltas, hs = [], []
    for one in updates:
        step = inverse * (start["fusion"].astype(np.float64) - one.weights["fusion"])
        deltas.append([one.loss**q * step])
        hs.append(q * one.loss ** (q - 1) * float(step @ step) + inverse * one.loss**q)
    expected = aggregate_qffl([start["fusion"].astype(np.float64)], deltas, hs)[0]
    found, _ = one_round("qfedavg", updates, start, fairness=q, server_learning_rate=0.5)
    assert np.allclose(found, expected, atol=1e-6)


def test_qfedavg_without_fairness_is_the_plain_mean_and_with_it_leans_to_the_worse_hospital():
    updates = [update("good", vector(1, 0), loss=0.1), update("bad", vector(0, 1), loss=2.0)]
    assert one_round("qfedavg", updates, fairness=0.0)[0].tolist() == [0.5, 0.5]
    leaning, _ = one_round("qfedavg", updates, fairness=1.0)
    assert leaning[1] > 10 * leaning[0] > 0


def test_qfedavg_refuses_an_update_whose_loss_is_not_told():
    aggregate = algorithm_of("qfedavg").aggregate(StrategySettings(), SHAPE)
    with pytest.raises(ValueError, match="which this hospital does not tell"):
        aggregate.add(update("a", vector(1, 0), loss=None))
    aggregate.close()


def named_elsewhere() -> list[str]:
    """Comparisons with the name of an algorithm outside of its own package."""
    rooms = [
        path
        for room in ("common", "client", "server", "simulations", "fedthorax")
        for path in ROOT.glob(f"{room}/**/*.py")
    ]
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in rooms
        if "algorithms" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and TABLE.keys() & {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
    ]


def test_the_rest_of_the_house_asks_an_algorithm_and_never_its_name():
    assert named_elsewhere() == []


def test_an_algorithm_without_a_word_on_every_combination_is_none():
    assert all(each.default is MISSING and each.default_factory is MISSING for each in fields(Refuses))
    with pytest.raises(TypeError, match="refuses"):
        Algorithm(aggregate=algorithm_of("fedavg").aggregate)


def test_the_docs_say_of_every_algorithm_what_it_goes_together_with():
    told = {}
    rows = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8").partition("## What goes together")[2]
    for row in rows.splitlines():
        if row.startswith("| `"):
            names, *answers = (cell.strip() for cell in row.strip("|").split("|"))
            told |= dict.fromkeys(names.replace("`", "").split(", "), answers)
    refusals = {name: algorithm_of(name).refuses for name in TABLE}
    assert told == {
        name: ["no" if reason else "yes" for reason in (refuses.codecs, refuses.tokens, refuses.masks)]
        for name, refuses in refusals.items()
    }


@pytest.mark.parametrize("name", list(TABLE))
def test_an_experiment_is_refused_for_the_reason_that_the_algorithm_gives(name, experiment_file):
    refuses = algorithm_of(name).refuses
    for setting, reason in (("federation.codec=int8", refuses.codecs), ("model.absent=token", refuses.tokens)):
        chosen = [f"federation.strategy={name}", "federation.strategy_settings.malicious_sites=0", setting]
        if refuses.least_sites(StrategySettings(malicious_sites=0)) > 2:
            continue  # the experiment has two hospitals, and is refused for that
        if reason is None:
            assert load_experiment(experiment_file(), chosen).federation.strategy == name
        else:
            with pytest.raises(ValueError, match=reason):
                load_experiment(experiment_file(), chosen)


class Counted:
    """Two hospitals of which the second says nothing about the second value."""

    parts = (Part("fusion", slice(0, 1), "fusion"), Part("fusion", slice(1, 2), "cancer"))
    shape = RoundShape({"fusion": 2}, parts, {})
    counts: ClassVar = ({"fusion": 1, "cancer": 1}, {"fusion": 1, "cancer": 0})


@pytest.mark.parametrize("name", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_part_of_which_nobody_has_anything_to_say_stays_whatever_its_momentum(name):
    before, state = {"fusion": vector(7, 7)}, {}
    for counts in Counted.counts:
        aggregate = algorithm_of(name).aggregate(StrategySettings(), Counted.shape)
        aggregate.add(Update("a", {"fusion": before["fusion"] + 1}, 1, counts, None))
        after, state = aggregate.result(before, state)
        assert after["fusion"][0] > before["fusion"][0]
        assert (after["fusion"][1] > before["fusion"][1]) == (counts["cancer"] == 1)
        before = after


@pytest.mark.parametrize("name", ["fedavg", "median", "trimmed_mean"])
def test_a_part_is_combined_over_the_hospitals_that_have_something_to_say_about_it(name):
    aggregate = algorithm_of(name).aggregate(StrategySettings(), Counted.shape)
    for site, values, counts in zip("ab", (vector(0, 5), vector(2, 99)), Counted.counts, strict=True):
        aggregate.add(Update(site, {"fusion": values}, 1, counts, None))
    assert aggregate.result({"fusion": vector(7, 7)}, {})[0]["fusion"].tolist() == [1, 5]
    aggregate.close()


def test_spooled_updates_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    aggregate = algorithm_of("median").aggregate(StrategySettings(), SHAPE)
    aggregate.add(update("a", vector(1, 2)))
    assert list(tmp_path.iterdir())
    aggregate.close()
    assert not list(tmp_path.iterdir())
