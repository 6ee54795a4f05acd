"""Reference heads: who is in, what they answer, and going on after a stop."""

import numpy as np
import pytest

from fedthorax.common.leakage import references as module
from fedthorax.common.leakage.figures import membership
from fedthorax.common.leakage.pool import PoolFeatures
from fedthorax.common.leakage.references import _margins_of, memberships, references, trainer
from fedthorax.common.training.private_step import PrivateHeads

from ...private_rounds import rounds_in_one_place


def test_of_each_two_runs_a_patient_is_in_one():
    chosen = memberships(7, 4, seed=1)
    assert np.array_equal(chosen[0], ~chosen[1])
    assert np.array_equal(chosen[2], ~chosen[3])
    assert chosen.sum(axis=1).tolist() == [3, 4, 3, 4]
    assert not np.array_equal(chosen[0], chosen[2])


def test_margins_are_log_odds_of_the_own_label():
    of_findings = _margins_of(np.array([[2.0, -1.0, 3.0]]), np.array([[1, 0, np.nan]], np.float32))
    assert of_findings[0, :2].tolist() == [2.0, 1.0]
    assert np.isnan(of_findings[0, 2])
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]]))
    of_class = _margins_of(logits, np.array([2, -1], np.int32))
    assert of_class[0, 0] == pytest.approx(0.0)
    assert np.isnan(of_class[1, 0])


@pytest.fixture
def run(heads, start, draw_pool, tmp_path):
    def go(runs=4, pool=None, seed=3, rounds=2):
        told = []
        pool = pool or draw_pool()
        found = references(
            heads,
            pool,
            trainer(heads, start, range(1, rounds + 1)),
            runs,
            tmp_path,
            seed,
            lambda *of: told.append(of),
            told.append,
        )
        return pool, found, told

    return go


def said(told):
    (line,) = [each for each in told if isinstance(each, str)]
    return line


def test_heads_that_learnt_by_heart_give_their_patients_away_and_shuffled_membership_does_not(run):
    pool, found, _ = run(6, rounds=12)
    told = membership(pool, "xray", {}, None, found, 1)
    assert told.attacks["lira"].area.value > 0.95
    assert told.attacks["lira"].area.interval[0] > 0.9
    assert told.attacks["rmia"].area.value > 0.9
    assert told.attacks["loss"].area.value > 0.9
    for null in (told.shuffled, told.members_against_members):
        assert null.interval[0] < 0.5 < null.interval[1]
        assert null.value == pytest.approx(0.5, abs=0.02)
    assert told.patients.almost_surely.value > 0.8


def test_after_a_stop_finished_runs_are_read_and_the_others_trained(run, monkeypatch):
    _, whole, told = run(2)
    assert said(told) == "2 of 2 reference runs are left, about 1 min; a stopped command goes on"
    assert told[-1] == (4, 24), "two rounds of the experiment's twelve"
    _, again, told = run(2)
    assert told == []
    assert all(np.array_equal(one.margins["ct"], other.margins["ct"]) for one, other in zip(whole, again, strict=True))


def test_a_stop_in_the_middle_of_a_run_loses_that_run_only(run, tmp_path, monkeypatch):
    saved, count = module.margins, []

    def stop(*of):
        count.append(0)
        if len(count) == 2:
            raise KeyboardInterrupt
        return saved(*of)

    monkeypatch.setattr(module, "margins", stop)
    with pytest.raises(KeyboardInterrupt):
        run(4)
    assert [path.name for path in tmp_path.iterdir()] == ["reference-00.npz"]
    assert (tmp_path / "reference-00.npz").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(module, "margins", saved)
    _, found, told = run(4)
    assert said(told).startswith("3 of 4")
    assert len(found) == 4


def test_files_of_other_patients_or_another_seed_are_not_taken(run, draw_pool):
    run(2)
    assert said(run(2, pool=draw_pool(23))[2]).startswith("2 of 2")
    assert said(run(2, seed=4)[2]).startswith("2 of 2")


def test_private_reference_runs_step_as_far_as_the_mean_of_the_hospitals(
    private_network, private_start, draw_private_pool
):
    """All noise left out, and 5 patients at each of as many hospitals as the experiment has."""
    experiment, pool = private_network.experiment, draw_private_pool(5, 0, ("north", "south"))
    heads = PrivateHeads(private_network, experiment.privacy.clip, "no noise")
    hospitals = {
        name: heads.patients(
            PoolFeatures(private_network, pool), pool.images_of(np.array([at == name for at in pool.hospitals]))
        )
        for name in experiment.data.hospitals
    }
    *_, apart = rounds_in_one_place(experiment, heads, private_start, hospitals, [10.0] * 3)
    train = trainer(private_network, private_start, range(1, 4), "no noise")
    assert train(pool, pool.trained, 1, lambda: None) == 10
    together = private_network.layout.read(private_start)
    assert np.abs(apart["disease"]).max() > 0.005
    assert together["disease"] == pytest.approx(apart["disease"], abs=2e-6), "but for rounding to the grid"
