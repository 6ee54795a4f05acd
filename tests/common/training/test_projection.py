from types import SimpleNamespace

import numpy as np
import pytest

from fedthorax.common.training.network import Network
from fedthorax.common.training.projection import set_projection

from .test_private_step import small


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(small(projection="fixed", feature_units=3, fusion_units=[]))


class Given:
    """Pooled features in place of those of images."""

    def __init__(self, width: int, count: int) -> None:
        random = np.random.default_rng(2)
        self.values = random.normal(size=(count, width)) * np.linspace(3, 0.1, width) + 5

    def pooled(self, modality: str, images: object, keep: bool) -> np.ndarray:
        return self.values.astype(np.float32)


def images(xray: np.ndarray, ct: np.ndarray) -> SimpleNamespace:
    class Some(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.targets)

    sides = {"xray": Some(targets=xray), "ct": Some(targets=ct)}
    return SimpleNamespace(**sides, of=sides.__getitem__)


def test_features_have_mean_0_and_variance_1_in_directions_apart_and_outputs_begin_at_what_is_frequent(network):
    given = Given(network.pooled_width("xray"), 40)
    findings = np.array([[1, np.nan]] * 9 + [[0, 0]] * 31, np.float32)
    set_projection(network, given, images(findings, np.array([0] * 5 + [1] * 33 + [-1] * 2, np.int32)))
    seen = network.model.get_layer("xray_features")(given.values.astype(np.float32)).numpy()
    assert seen.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)
    assert np.cov(seen.T, bias=True) == pytest.approx(np.eye(3), abs=1e-3)
    logits = network.logits_of_pooled(*2 * [given.values[:1].astype(np.float32)], *2 * [np.ones((1, 1), np.float32)])
    present = 1 / (1 + np.exp(-logits["disease"].numpy()[0]))
    assert present == pytest.approx([10 / 42, 1 / 33])
    classes = np.exp(logits["cancer"].numpy()[0])
    assert classes / classes.sum() == pytest.approx([6 / 40, 34 / 40])


def test_too_few_images_for_the_directions_are_refused_by_name(network):
    given = Given(network.pooled_width("xray"), 3)
    with pytest.raises(ValueError, match=r"fixed to 3 directions .* only 3 validation images of xray"):
        set_projection(network, given, images(np.zeros((3, 2), np.float32), np.zeros(3, np.int32)))


def test_what_is_never_trained_does_not_travel_as_an_update(network):
    assert network.trained_segments("heads") == ("fusion", "disease", "cancer")
    assert "xray.projection" in network.trained_segments("all")
