import pytest

from fedthorax.common.config.load import load_experiment

PRIVACY = "{mechanism: local, epsilon: 8, delta: 1e-4, sampling_rate: 0.5, steps: 4, patients: 100}"
PRIVATE = ("model.absent=token", "model.projection=fixed", "federation.unusual_updates=off", f"privacy={PRIVACY}")
DISTRIBUTED = PRIVACY.replace("local", "distributed").replace("steps: 4", "steps: 2")
MASKED = ("federation.secure_aggregation=true", "federation.smallest_sum=2", f"privacy={DISTRIBUTED}")


def test_what_privacy_allows_is_read(experiment_file):
    experiment = load_experiment(experiment_file(), PRIVATE)
    assert (experiment.privacy.mechanism, experiment.privacy.images_per_patient) == ("local", 4)
    assert experiment.whole_everywhere
    assert not experiment.weighs_branches
    assert load_experiment(experiment_file(), (*PRIVATE, *MASKED)).privacy.mechanism == "distributed"
    learned = ("model.projection=learned", "model.head_norm=layer", "model.dropout=0")
    assert load_experiment(experiment_file(), (*PRIVATE, *learned)).privacy is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["model.absent=refused"], "model.absent is refused"),
        (["training.phases=[{rounds: 2, trainable: all}]"], "a phase trains the encoders"),
        (["training.phases=[{rounds: 2, trainable: heads, local_epochs: 2}]"], "several local_epochs"),
        (["training.loss.cancer=own"], "training.loss.cancer is own"),
        (["training.loss.disease=balanced"], "training.loss.disease is balanced"),
        (["model.projection=learned", "model.dropout=0"], "model.head_norm is batch"),
        (["model.projection=learned", "model.head_norm=none"], "model.dropout is 0.3"),
        (["training.local_patience=2"], "training.local_patience"),
        (["training.modality_dropout=0.1"], "training.modality_dropout"),
        (["training.weight_decay=0.1"], "training.weight_decay"),
        (["personalisation.fine_tune=[outputs]"], "personalisation.fine_tune"),
        (["federation.strategy=fedprox"], "federation.strategy is fedprox"),
        (["federation.weigh_by=branches"], "federation.weigh_by is branches"),
        (["federation.unusual_updates=warn"], "federation.unusual_updates"),
        (["training.warmup_steps=5"], "training.warmup_steps"),
        ([f"privacy={PRIVACY.replace('steps: 4', 'steps: 3')}"], "privacy.steps 3 cannot be shared out among 2"),
        ([f"privacy={PRIVACY.replace('1e-4', '9.9e-3').replace('100', '200')}"], "privacy.delta 0.0099 is not below"),
        ([f"privacy={DISTRIBUTED}"], "needs masks"),
        ([*MASKED, f"privacy={DISTRIBUTED.replace('steps: 2', 'steps: 4')}"], "one step a round"),
        ([*MASKED, f"privacy={DISTRIBUTED[:-1]}, colluding: 2}}"], "privacy.colluding is 2 of 2 hospitals"),
    ],
)
def test_what_privacy_cannot_be_combined_with_is_refused_by_name(experiment_file, changes, words):
    with pytest.raises(ValueError, match="privacy is asked for, but") as error:
        load_experiment(experiment_file(), (*PRIVATE, *changes))
    assert words in str(error.value)


@pytest.mark.parametrize("strategy", ["fedbn", "scaffold"])
def test_an_algorithm_that_keeps_or_sends_more_is_refused_one_way_or_another(experiment_file, strategy):
    with pytest.raises(ValueError, match=f"federation.strategy is {strategy}"):
        load_experiment(experiment_file(), (*PRIVATE, f"federation.strategy={strategy}"))


def test_normalisation_at_home_needs_some(experiment_file):
    with pytest.raises(ValueError, match="the heads have no batch normalisation"):
        load_experiment(experiment_file(), ("federation.strategy=fedbn", "model.head_norm=none"))
