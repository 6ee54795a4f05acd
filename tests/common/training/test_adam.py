import keras
import numpy as np
import pytest
import tensorflow as tf

from fedthorax.common.training.adam import Adam


def variables():
    kernel = keras.Variable(np.array([[1.0, -2.0], [3.0, 0.5]], np.float32), name="kernel")
    return [kernel, keras.Variable(np.array([0.25, -4.0], np.float32), name="bias")]


GRADIENTS = [
    [np.array([[0.5, -1.0], [0.0, 2.0]], np.float32), np.array([3.0, -0.1], np.float32)],
    [np.array([[-1.5, 1.0], [0.2, 0.0]], np.float32), np.array([0.0, 9.0], np.float32)],
    [np.array([[0.1, 0.1], [0.1, 0.1]], np.float32), np.array([-3.0, 0.2], np.float32)],
]


def stepped(optimizer, moved):
    for gradients in GRADIENTS:
        optimizer.apply([tf.constant(gradient) for gradient in gradients])
    return [np.asarray(variable) for variable in moved]


@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_steps_as_the_optimiser_of_keras_does(clip_norm, weight_decay):
    ours, theirs = variables(), variables()
    rival = keras.optimizers.Adam(0.01, global_clipnorm=clip_norm, weight_decay=weight_decay or None)
    rival.exclude_from_weight_decay([theirs[1]])
    rival.build(theirs)
    found = stepped(Adam(ours, 0.01, clip_norm, weight_decay), ours)
    for mine, other in zip(found, stepped(rival, theirs), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-7)


def test_the_first_step_is_as_long_as_the_learning_rate():
    moved = variables()
    Adam(moved, 0.01, None, 0.0).apply([tf.constant([[5.0, -0.001], [2.0, 7.0]]), tf.constant([1.0, -1.0])])
    np.testing.assert_allclose(np.asarray(moved[0]), [[0.99, -1.99], [2.99, 0.49]], atol=1e-4)
    np.testing.assert_allclose(np.asarray(moved[1]), [0.24, -3.99], atol=1e-4)


def test_the_rate_rises_over_the_first_steps():
    moved = variables()
    optimizer = Adam(moved, 0.01, None, 0.0, warmup=2)
    steady = [tf.constant([[5.0, 5.0], [5.0, 5.0]]), tf.constant([1.0, -1.0])]  # each step is as long as the rate
    for place, far in enumerate((0.005, 0.015, 0.025)):
        optimizer.apply(steady)
        np.testing.assert_allclose(np.asarray(moved[1]), [0.25 - far, -4.0 + far], atol=1e-5, err_msg=str(place))
    optimizer.reset()
    optimizer.apply(steady)
    np.testing.assert_allclose(np.asarray(moved[1]), [0.22, -3.97], atol=1e-5)


def test_a_variable_that_the_loss_does_not_depend_on_stays_as_it_is():
    moved = variables()
    Adam(moved, 0.01, 1.0, 0.1).apply([None, tf.constant([1.0, 1.0])])
    np.testing.assert_array_equal(np.asarray(moved[0]), np.asarray(variables()[0]))
    assert not np.array_equal(np.asarray(moved[1]), np.asarray(variables()[1]))


def test_after_a_reset_the_same_steps_follow():
    moved = variables()
    optimizer = Adam(moved, 0.01, 1.0, 0.0)
    first = stepped(optimizer, moved)
    for variable, start in zip(moved, variables(), strict=True):
        variable.assign(np.asarray(start))
    optimizer.reset()
    for before, after in zip(first, stepped(optimizer, moved), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_gradient_that_is_no_number_shows_in_the_weights():
    moved = variables()
    Adam(moved, 0.01, 1.0, 0.0).apply([tf.constant([[np.nan, 1.0], [1.0, 1.0]]), tf.constant([1.0, 1.0])])
    assert np.isnan(np.asarray(moved[1])).all()  # the norm of all of them is not one either
