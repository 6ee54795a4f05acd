"""Training without a federation: what is built for it."""

import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.server import session
from fedthorax.simulations.centralised import train


def test_a_site_without_ct_trains_a_network_without_its_encoder_and_the_server_scores_with_both(
    experiment_file, monkeypatch: pytest.MonkeyPatch
):
    """On X-rays alone the encoder of CT made a step 1.6 times as long as in a simulation, for nothing."""
    experiment = load_experiment(experiment_file())
    for name in ("central", *experiment.data.hospitals):
        for path in experiment.data.folders_of(name)[0].by_modality.values():
            path.mkdir(parents=True, exist_ok=True)
    built = []
    monkeypatch.setattr(session, "build_network", lambda of, modalities: built.append(modalities) or modalities)

    def run(experiment, sites, channel, run, mode, build):
        worker = channel.worker
        return build(experiment), worker._build_network(experiment, ("xray",)), worker._build_network(experiment, both)

    both = ("xray", "ct")
    monkeypatch.setattr(session, "run_session", run)
    assert train(experiment) == (both, ("xray",), both)
    assert built == [both, ("xray",)]
