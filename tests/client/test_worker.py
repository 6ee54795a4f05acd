import pytest

from fedthorax.client import worker as module
from fedthorax.client.worker import SiteWorker
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.ground.events import EventLog
from fedthorax.common.messages.tasks import EvaluateTask


@pytest.fixture
def policy_of(experiment_file, monkeypatch):
    """The policy that a hospital's own test is scored under; the consortium's smallest count is 4."""
    experiment = load_experiment(experiment_file(), ["data.privacy={smallest_count: 4, round_to: 1}"])
    given = []
    monkeypatch.setattr(module, "hospital_tests", lambda *told: given.append(told[5]) or {})
    monkeypatch.setattr(SiteWorker, "_ready", lambda *_: (None, None, None, {}, {}))

    def policy(**settings):
        task = EvaluateTask(site="north", round=1, experiment=experiment.model_dump_json(), splits=("test",))
        reply = SiteWorker(None, None, EventLog(None), **settings).run(task)
        assert reply.error is None
        return given.pop()

    return policy


def test_scores_of_groups_obey_the_strictest_of_the_consortium_and_both_of_the_hospitals_limits(policy_of):
    own = PrivacyConfig(smallest_count=6, round_to=5)
    assert policy_of(privacy=own) == own
    assert policy_of(privacy=own, smallest_score=9) == PrivacyConfig(smallest_count=9, round_to=5)
    exact = PrivacyConfig(smallest_count=1, round_to=1)
    assert policy_of(privacy=exact) == PrivacyConfig(smallest_count=4, round_to=1)
    assert policy_of(smallest_score=9) is None, "a simulation has no hospital of its own"
