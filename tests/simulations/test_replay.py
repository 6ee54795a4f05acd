"""Where a replay goes, and which runs have none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.common.replay.conditions import StoredRun
from fedthorax.simulations.simulate import replay_experiment, require_replayable


def stored(experiment_file: Callable[[], Path], mode: str = "simulate") -> StoredRun:
    return StoredRun(Path("elsewhere/tiny"), load_experiment(experiment_file()), {}, {"mode": mode, "sites": {}})


def test_a_replay_goes_beside_the_run_under_the_first_free_name(experiment_file: Callable[[], Path]) -> None:
    run = stored(experiment_file)
    first = replay_experiment(run)
    assert first.run_folder == Path("elsewhere/tiny-replay").absolute()
    first.run_folder.mkdir(parents=True)
    assert replay_experiment(run).name == "tiny-replay-2"
    assert replay_experiment(run).model_copy(update={"name": "tiny", "output": run.experiment.output}) == run.experiment


def test_a_name_that_is_taken_is_refused(experiment_file: Callable[[], Path]) -> None:
    run = stored(experiment_file)
    run.folder.mkdir(parents=True)
    with pytest.raises(FileExistsError, match="tiny is there already; a replay goes into a new folder"):
        replay_experiment(run, "tiny")


def test_a_consortiums_run_is_told_how_it_is_repeated(experiment_file: Callable[[], Path]) -> None:
    with pytest.raises(ValueError, match=r"images are at the hospitals; run it again with `fedthorax run .* --against"):
        require_replayable(stored(experiment_file, "consortium"))
