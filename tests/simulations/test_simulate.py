"""What a simulation finds out before Ray starts, which takes seconds."""

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.simulations import simulate as module


@pytest.mark.parametrize("start", [module.simulate, module.simulate_statistics])
def test_without_any_folder_nothing_is_started(experiment_file, tmp_path, monkeypatch, start):
    monkeypatch.setattr(module, "on_flower", lambda *_: pytest.fail("Ray was started"))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        start(load_experiment(experiment_file()))
    assert not (tmp_path / "runs").exists()
