import os
import time

import numpy as np
import pytest

from fedthorax.client.site_store import SiteStore
from fedthorax.common.messages.tasks import TrainTask

from ..told import changed

TASK = TrainTask(site="north", round=1, run="run-1")


def residual(value: float) -> dict[str, np.ndarray]:
    return {"fusion": np.full(3, value, np.float32), "ct.backbone": np.full(2, -value, np.float32)}


def trained(residuals: SiteStore, *rounds: int) -> None:
    for number in rounds:
        residuals.keep_residual(changed(TASK, round=number), residual(number))


def first(residuals: SiteStore, own_round: int, **changes) -> float | None:
    found = residuals.residual(changed(TASK, own_round=own_round, **changes))
    return None if found is None else float(found["fusion"][0])


def test_before_the_first_update_nothing_is_left_out(tmp_path):
    assert SiteStore(tmp_path).residual(TASK) == {}


def test_the_residual_is_that_of_the_update_that_counted_last(tmp_path):
    trained(SiteStore(tmp_path), 1, 2, 3)
    assert first(SiteStore(tmp_path), 3) == 3
    assert first(SiteStore(tmp_path), 2) == 2  # round 3 came to nothing, or the run goes on from round 2


def test_three_rounds_are_kept_and_none_of_a_future_that_did_not_happen(tmp_path):
    residuals = SiteStore(tmp_path)
    trained(residuals, 1, 2, 3, 4, 5, 3)
    assert [first(residuals, number) for number in range(1, 6)] == [None, None, 3, None, None]


@pytest.mark.parametrize("change", [{"site": "south"}, {"run": "run-2"}])
def test_hospitals_and_runs_do_not_share_it(tmp_path, change):
    trained(SiteStore(tmp_path), 1)
    assert first(SiteStore(tmp_path), 1, **change) is None


def test_a_damaged_file_and_no_folder_count_as_lost(tmp_path):
    trained(SiteStore(tmp_path), 1)
    (file,) = tmp_path.rglob("residual-0001.npz")
    file.write_bytes(file.read_bytes()[:-40])
    assert first(SiteStore(tmp_path), 1) is None
    trained(SiteStore(), 1)
    assert first(SiteStore(), 1) is None


def test_what_a_run_of_long_ago_has_left_is_removed(tmp_path):
    trained(SiteStore(tmp_path), 1)
    (file,) = tmp_path.rglob("residual-0001.npz")
    os.utime(file.parent, (time.time() - 100 * 86400,) * 2)
    SiteStore(tmp_path).keep_residual(changed(TASK, run="run-2"), residual(5))
    assert first(SiteStore(tmp_path), 1, run="run-1") is None
    assert first(SiteStore(tmp_path), 1, run="run-2") == 5


def test_only_its_owner_can_read_it(tmp_path):
    trained(SiteStore(tmp_path), 1)
    (file,) = tmp_path.rglob("residual-0001.npz")
    assert file.stat().st_mode & 0o777 == 0o600
