"""What cannot be gone on with is refused in one line. That a run which goes on has the same bits: test_same_bits.py."""

import pytest

pytestmark = pytest.mark.ci


def test_a_finished_run_has_nothing_to_go_on_with(workplace, simulated):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", expect=1)
    assert "runs/tiny has finished after round 3; there is nothing to go on with" in refused.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.encoder_units=32", "model.encoder_units is 32, was 64"),
        ("labels.findings=[Effusion]", "labels.findings is ['Effusion'], was ['Cardiomegaly'"),
        ("seed=6", "seed is 6, was 5"),
    ],
)
def test_another_experiment_is_refused_and_the_keys_named(workplace, simulated, change, words):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", "--set", change, expect=1)
    assert "cannot be resumed with another experiment: " + words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert workplace.metrics("tiny")["status"] == "finished"


def test_what_is_not_there_cannot_be_resumed(workplace):
    refused = workplace.run("simulate", "tiny.yaml", "--resume", "--name", "never-begun", expect=1)
    assert "never-begun holds no run that could be resumed; start it without --resume" in refused.stderr
    assert not (workplace.folder / "runs" / "never-begun").exists()
