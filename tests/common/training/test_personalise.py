import numpy as np
import pytest

from fedthorax.common.config.personalisation import PersonalisationConfig
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.personalise import personalise
from fedthorax.common.training.scoring import predict


@pytest.fixture(scope="module")
def tuned(small_experiment, draw_images):
    """Builds one network for all parts; what is fine-tuned is set by each test."""
    network = Network(small_experiment)
    measure_batch_norm(network, FeatureStore(network, None), draw_images(8, 8))  # else random features are near 0
    start = network.layout.read()

    def tune(images, fine_tune=("heads",), **settings):
        config = PersonalisationConfig(
            fine_tune=fine_tune, **{"epochs": 2, "patience": 5, "learning_rate": 1e-2} | settings
        )
        network.experiment = small_experiment.model_copy(update={"personalisation": config})
        network.layout.write(start)
        store = FeatureStore(network, None)
        done = personalise(network, store, *images, seed=1)
        return done, start, network, store

    return tune


def changed(network, start) -> set[str]:
    after, names = network.layout.read(), set()
    for segment, slots in network.layout.slots.items():
        for slot in slots:
            if not np.array_equal(after[segment][slot.start : slot.stop], start[segment][slot.start : slot.stop]):
                names.add(slot.name)
    return names


PARTS = {
    "batch_norm": {
        f"{m}_batch_norm/{v}" for m in ("xray", "ct") for v in ("gamma", "beta", "moving_mean", "moving_variance")
    },
    "outputs": {f"{head}_logits/{v}" for head in ("disease", "cancer") for v in ("kernel", "bias")},
}


@pytest.mark.ci
@pytest.mark.parametrize("part", PARTS)
def test_only_what_is_named_is_fine_tuned(tuned, draw_images, part):
    """The hospital's validation split is its training split, so that training makes it better."""
    images = draw_images(8, 8)
    done, start, network, _ = tuned((images, images), (part,))
    assert done.kept == part
    assert changed(network, start) <= PARTS[part]
    assert changed(network, start) & {name for name in PARTS[part] if "moving" not in name}


def test_the_better_of_several_is_kept_and_its_loss_is_what_is_told(tuned, draw_images):
    images = draw_images(8, 8)
    done, *_ = tuned((images, images), ("outputs", "heads"), epochs=6)
    assert set(done.valid_loss) == {"common", "outputs", "heads"}
    assert done.valid_loss[done.kept] == min(done.valid_loss.values())
    assert done.epochs == {"outputs": 6, "heads": 6}
    again, *_ = tuned((images, images), ("outputs", "heads"), epochs=6)
    assert again == done


def test_a_model_that_stays_at_home_learns_that_a_class_without_a_slice_does_not_occur_there(
    small_experiment, draw_images
):
    """In a round it must not, with this loss: others have slices of that class."""
    loss = small_experiment.training.loss.model_copy(update={"cancer": "own"})
    training = small_experiment.training.model_copy(update={"loss": loss})
    config = PersonalisationConfig(fine_tune=("outputs",), epochs=20, learning_rate=0.1)
    network = Network(small_experiment.model_copy(update={"training": training, "personalisation": config}))
    images, store, start = draw_images(8, 8), FeatureStore(network, None), network.layout.read()
    images.ct.targets[:] = 0

    def of_the_absent_class() -> float:
        return float(predict(network, store, images, 1)[0].cancer[:, 1:].sum(axis=1).mean())

    before = of_the_absent_class()
    fit(network, store, images, images, PhaseConfig(rounds=1, trainable="heads", local_epochs=20), 0.1, 1)
    assert of_the_absent_class() > before / 2
    network.layout.write(start)
    personalise(network, store, images, images, seed=1)
    assert of_the_absent_class() < before / 10


def ct_phase(experiment, **settings):
    trained = {"rounds": 1, "trainable": "parts", "parts": {"cancer": {}, "ct": {"top": 0}}}
    phase = PhaseConfig.model_validate(trained | settings)
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"phases": (phase,)})})


def test_what_the_last_phase_trains_is_fine_tuned_at_that_phase_s_rate(small_experiment, draw_images):
    images, tried = draw_images(8, 8), {}
    for phase_rate, own_rate in ((1e-2, None), (1e-9, 1e-2), (1e-9, None)):
        experiment = ct_phase(small_experiment, learning_rate=phase_rate)
        config = PersonalisationConfig(fine_tune=("last_phase",), epochs=4, learning_rate=own_rate)
        network = Network(experiment.model_copy(update={"personalisation": config}))
        store = FeatureStore(network, None)
        measure_batch_norm(network, store, images)
        start = network.layout.read()
        tried[phase_rate, own_rate] = personalise(network, store, images, images, seed=1)
        segments = {name for name in start if not np.array_equal(start[name], network.layout.read()[name])}
        assert segments <= {"ct.projection", "cancer"}
    phase_s, own, neither = tried.values()
    assert phase_s.kept == "last_phase"
    assert phase_s == own
    assert neither.valid_loss["last_phase"] != own.valid_loss["last_phase"]


def test_a_hospital_that_the_last_phase_passes_by_still_tries_the_others(small_experiment, draw_images):
    """It has X-rays alone; the last phase trains CT's encoder."""
    experiment = ct_phase(small_experiment)
    model = experiment.model.model_copy(update={"absent": "token"})
    config = PersonalisationConfig(fine_tune=("last_phase", "outputs"), epochs=3, learning_rate=1e-2)
    network = Network(experiment.model_copy(update={"model": model, "personalisation": config}), ("xray",))
    images = draw_images(8, 0)
    done = personalise(network, FeatureStore(network, None), images, images, seed=1)
    assert list(done.epochs) == ["outputs"]
    assert done.reason is None


def test_where_nothing_is_better_the_common_model_stays_to_the_last_bit(tuned, draw_images):
    """Labels of the validation split are the opposite of those that are trained on."""
    train = draw_images(8, 8)
    valid = draw_images(8, 8)
    valid.xray.targets[:] = 1 - train.xray.targets
    valid.ct.targets[:] = 1 - train.ct.targets
    done, start, network, _ = tuned((train, valid), ("heads",), learning_rate=0.1, epochs=1)
    assert done.kept is None
    assert done.reason is None
    assert done.valid_loss["heads"] > done.valid_loss["common"]
    assert changed(network, start) == set()


def test_fine_tuning_stops_when_the_validation_loss_falls_no_more_and_returns_to_the_best_pass(tuned, draw_images):
    train, valid = draw_images(8, 8), draw_images(8, 8, 9)
    done, _, network, store = tuned((train, valid), ("heads",), epochs=20, patience=2, learning_rate=3e-2)
    assert done.epochs["heads"] < 20
    if done.kept is not None:
        assert predict(network, store, valid, 0)[1]["loss"] < done.valid_loss["common"] + 0.1


@pytest.mark.parametrize(
    ("train", "valid", "words"),
    [((4, 4), (0, 0), "No label is known in the validation split"), ((0, 4), (4, 4), "There is no pair to train on")],
)
def test_a_hospital_that_cannot_compare_keeps_the_common_model_and_says_why(tuned, draw_images, train, valid, words):
    done, start, network, _ = tuned((draw_images(*train), draw_images(*valid)))
    assert done.kept is None
    assert words in done.reason
    assert changed(network, start) == set()
