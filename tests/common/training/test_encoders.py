import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.config import Experiment
from fedthorax.common.model.backbone import all_layers
from fedthorax.common.model.segments import BACKBONE_SEGMENTS
from fedthorax.common.training.encoders import fused_batch_norm, training_encoders
from fedthorax.common.training.network import Network


def pictures(seed, size=32):
    return tf.constant(np.random.default_rng(seed).uniform(0, 255, (4, size, size, 3)).astype(np.float32))


def of_backbone(network, name):
    return network.model.get_layer(f"{name}_backbone")


def encoders_of(network):
    return training_encoders([of_backbone(network, name) for name in network.modalities])


def moving(network, name):
    return {v.path: np.asarray(v) for v in of_backbone(network, name).non_trainable_variables if "moving" in v.path}


def test_traced_once_they_do_what_the_two_backbones_do(fresh):
    batches = [pictures(1), pictures(2)]
    encode = tf.function(encoders_of(fresh))
    together = [features.numpy() for features in encode(batches)]
    after = {name: moving(fresh, name) for name in ("xray", "ct")}
    fresh.layout.write(fresh.starting_weights)
    for name, images, features in zip(("xray", "ct"), batches, together, strict=True):
        alone = of_backbone(fresh, name)(images, training=True)
        np.testing.assert_allclose(features, alone, rtol=1e-3, atol=1e-4)
        for path, values in moving(fresh, name).items():
            np.testing.assert_allclose(after[name][path], values, rtol=1e-3, atol=1e-4, err_msg=path)


def test_each_has_gradients_of_its_own(fresh):
    @tf.function
    def gradients(xray, ct):
        with tf.GradientTape() as tape:
            features = encode([xray, ct])
            loss = tf.reduce_sum(features[0] ** 2)  # of the X-rays alone
        variables = [of_backbone(fresh, name).trainable_variables for name in ("xray", "ct")]
        return tape.gradient(loss, [[v.value for v in own] for own in variables])

    encode = encoders_of(fresh)
    of_xray, of_ct = gradients(pictures(1), pictures(2))
    assert max(float(tf.reduce_max(tf.abs(g))) for g in of_xray) > 0
    assert all(g is None or not np.any(g.numpy()) for g in of_ct)


def test_a_layer_is_itself_again_after_the_tracing(fresh):
    layers = all_layers(of_backbone(fresh, "xray"))
    before = [type(layer).call for layer in layers]
    with fused_batch_norm(layers):
        pass
    assert [layer.call.__func__ for layer in layers] == before


def test_frozen_batch_norm_is_left_as_it_is(fresh, small_experiment):
    model = small_experiment.model.model_copy(update={"batch_norm": "frozen"})
    network = Network(small_experiment.model_copy(update={"model": model}))
    before = moving(network, "xray")
    tf.function(encoders_of(network))([pictures(1), pictures(2)])
    for path, values in moving(network, "xray").items():
        np.testing.assert_array_equal(values, before[path])


@pytest.mark.ci
def test_random_states_go_on_for_each_by_itself(small_experiment):
    raw = small_experiment.model_dump(mode="json")
    raw["model"] |= {"backbone": "EfficientNetB0"}  # it drops whole paths at random
    network = Network(Experiment.model_validate(raw))
    network.start("all", seed=1)
    states = [layer.seed_generator.state for layer in network._dropouts]
    before = [np.asarray(state) for state in states]
    tf.function(encoders_of(network))([pictures(1), pictures(2)])
    assert len({tuple(state) for state in before}) == len(before)
    for old, state in zip(before, states, strict=True):
        assert (np.asarray(state) != old).any()


def losses_of_steps(small_experiment, images, **training):
    """Mean losses of both heads in three steps, and the network."""
    raw = small_experiment.model_dump(mode="json")
    raw["training"] |= training
    network = Network(Experiment.model_validate(raw))
    network.start("all", seed=1)
    network.set_learning_rate("all", 1e-4)
    pixels = [part.images.astype(np.float32) for part in (images.xray, images.ct)]
    found = []
    for _ in range(3):
        sums = network.step("all")(*pixels, images.xray.targets, images.ct.targets).numpy()
        found.append(sums[::2] / sums[1::2])
    return np.array(found), network


@pytest.mark.ci
def test_half_the_precision_gives_the_losses_of_float32_within_a_bound_and_leaves_the_network_float32(
    small_experiment, draw_images, monkeypatch
):
    images = draw_images(8, 8)
    monkeypatch.setattr("fedthorax.common.training.network.accelerators_here", lambda: ["a stand-in"])
    whole, network = losses_of_steps(small_experiment, images)
    policies = [layer.dtype_policy.name for layer in all_layers(network.model)]
    for precision, bound in (("bfloat16", 0.03), ("mixed_float16", 0.005)):
        found, halved = losses_of_steps(small_experiment, images, precision=precision)
        first = np.abs(found / whole - 1).max(axis=1)[0]
        assert 0 < first < bound, (precision, found, whole)
        assert (found[2] < found[0]).all(), (precision, found)  # it learns; later steps part ways after any rounding
        assert [layer.dtype_policy.name for layer in all_layers(halved.model)] == policies
        assert all(variable.dtype == "float32" for variable in halved.model.trainable_variables)


def test_a_processor_calculates_in_float32_and_compiles_nothing_whatever_the_lead_asks_for(small_experiment):
    raw = small_experiment.model_dump(mode="json")
    raw["training"] |= {"precision": "bfloat16", "jit_compile": True}
    step = Network(Experiment.model_validate(raw)).step("all")
    assert step._jit_compile is None
    types = {tensor.dtype for node in step.get_concrete_function().graph.get_operations() for tensor in node.outputs}
    assert tf.bfloat16 not in types


@pytest.mark.slow
def test_a_compiled_step_gives_the_losses_of_one_that_is_not(small_experiment, draw_images, monkeypatch):
    images = draw_images(8, 8)
    monkeypatch.setattr("fedthorax.common.training.network.accelerators_here", lambda: ["a stand-in"])
    plain, _ = losses_of_steps(small_experiment, images)
    found, _ = losses_of_steps(small_experiment, images, jit_compile=True)
    np.testing.assert_allclose(found, plain, rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["MobileNetV2", "DenseNet121", "ResNet50"])
def test_a_step_trains_the_backbones_of_other_families(small_experiment, draw_images, backbone):
    raw = small_experiment.model_dump(mode="json")
    raw["model"] |= {"backbone": backbone}
    network, images = Network(Experiment.model_validate(raw)), draw_images(4, 4)
    before = network.layout.read(BACKBONE_SEGMENTS)
    network.start("all", seed=1)
    pixels = (part.images.astype(np.float32) for part in (images.xray, images.ct))
    assert np.isfinite(network.step("all")(*pixels, images.xray.targets, images.ct.targets)).all()
    for name, values in network.layout.read(BACKBONE_SEGMENTS).items():
        assert np.isfinite(values).all()
        assert not np.array_equal(values, before[name])


@pytest.mark.ci
def test_their_gradients_are_those_of_the_two_backbones(fresh):
    def gradients(encoders):
        with tf.GradientTape() as tape:
            features = encoders([pictures(1), pictures(2)])
            loss = sum(tf.reduce_mean(one**2) for one in features)
        return tape.gradient(loss, learned)

    backbones = [of_backbone(fresh, name) for name in ("xray", "ct")]
    variables = [variable for backbone in backbones for variable in backbone.trainable_variables]
    learned = [variable.value for variable in variables]
    theirs = gradients(lambda batches: [b(images, training=True) for b, images in zip(backbones, batches, strict=True)])
    fresh.layout.write(fresh.starting_weights)
    ours = tf.function(lambda: gradients(encoders_of(fresh)))()
    largest = max(float(tf.norm(gradient)) for gradient in theirs)
    for variable, mine, other in zip(variables, ours, theirs, strict=True):
        # A shift before a batch normalisation changes nothing: its gradient is rounding and no more.
        apart = float(tf.norm(mine - other) / (tf.norm(other) + 1e-3 * largest))
        assert apart < 0.01, (variable.path, apart)
