"""Some parts of the network are trained, each at a rate of its own; the others are used as in inference."""

import numpy as np
import pytest

from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.config import Experiment
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.model.backbone import build_backbone, split_backbone
from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.fit import fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import Scope, plan_round, scope_of

TOP = PhaseConfig(rounds=1, trainable="parts", parts={"xray": {"top": 2}, "fusion": {}})
CT = PhaseConfig(rounds=1, trainable="parts", parts={"ct": {"rate_factor": 0.1}, "cancer": {}})
ENDS = PhaseConfig(rounds=1, trainable="parts", parts={"disease": {}, "ct": {"top": 0}})


@pytest.fixture(scope="module")
def made(small_experiment):
    raw = small_experiment.model_dump(mode="json")
    raw["training"]["phases"] = [phase.model_dump(mode="json") for phase in (TOP, CT, ENDS)]
    raw["model"]["dropout"] = 0.5
    network = Network(Experiment.model_validate(raw))
    network.starting_weights = network.layout.read()
    return network


@pytest.fixture
def parted(made):
    made.layout.write(made.starting_weights)
    return made


def trained(network, images, none, phase, rate=0.01, **more):
    before = network.layout.read()
    report = fit(network, FeatureStore(network, None), images, none, phase, rate, 1, **more)
    after = network.layout.read()
    return report, {
        name: after[name] - before[name] for name in before if not np.array_equal(before[name], after[name])
    }


def test_only_the_last_blocks_of_a_backbone_change_and_all_else_stays_as_it_was(parted, draw_images):
    report, moved = trained(parted, draw_images(6, 5), draw_images(0, 0), TOP)
    assert report.pairs == 6
    assert set(moved) == {"xray.backbone", "xray.projection", "fusion"}
    below, above = split_backbone(parted.model.get_layer("xray_backbone"), 2)
    changed = {
        slot.name
        for slot in parted.layout.slots["xray.backbone"]
        if moved["xray.backbone"][slot.start : slot.stop].any()
    }
    assert changed
    assert changed <= {variable.path for variable in above.weights}
    assert not changed & {variable.path for variable in below.weights}


def test_what_is_frozen_of_a_segment_that_is_trained_is_what_lies_below(parted, draw_images):
    _, moved = trained(parted, draw_images(6, 5), draw_images(0, 0), TOP)
    ((segment, wheres),) = parted.frozen(scope_of(TOP)).items()
    below, above = split_backbone(parted.model.get_layer("xray_backbone"), 2)
    assert segment == "xray.backbone"
    assert sum(where.stop - where.start for where in wheres) == sum(np.prod(v.shape) for v in below.weights)
    assert above.weights
    assert not any(moved[segment][where].any() for where in wheres)
    assert [parted.frozen(scope_of(phase)) for phase in (CT, ENDS)] == [{}, {}]
    assert parted.frozen("all") == {}


def test_what_lies_below_is_computed_once_for_all_rounds(parted, draw_images, monkeypatch):
    store, computed, images = FeatureStore(parted, None), [], draw_images(6, 5)
    real = store._compute
    monkeypatch.setattr(store, "_compute", lambda modality, *rest: computed.append(modality) or real(modality, *rest))
    for seed in (1, 2, 3):
        fit(parted, store, images, draw_images(0, 0), TOP, 0.01, seed)
    assert sorted(computed) == ["ct", "xray"]


def test_what_lies_below_keeps_its_bits_and_its_features_when_hospitals_are_averaged(
    parted, draw_images, tmp_path, monkeypatch
):
    """Also values far below the grid of the sums, as pretrained backbones have some."""
    segments = parted.trained_segments(scope_of(TOP))
    common = parted.layout.read()
    common["xray.backbone"][common["xray.backbone"] == 0] = 3e-13
    parted.layout.write(common)
    below = parted.weights_below("xray", 2)
    assert (np.abs(below) < 1e-12).any()
    hospitals = {pairs: draw_images(pairs, pairs, seed=pairs) for pairs in (5, 8)}
    store, computed = FeatureStore(parted, tmp_path), []
    real = store._compute
    monkeypatch.setattr(store, "_compute", lambda modality, *rest: computed.append(modality) or real(modality, *rest))
    for _ in range(2):
        average = FederatedAverage({segment: parted.layout.sizes[segment] for segment in segments})
        for pairs, images in hospitals.items():
            parted.layout.write(common)
            fit(parted, store, images, draw_images(0, 0), TOP, 0.01, 1)
            average.add(parted.layout.read(segments), pairs)
        before, common = common, common | average.result(common)
        parted.layout.write(common)
        assert not np.array_equal(before["xray.backbone"], common["xray.backbone"])
        assert parted.weights_below("xray", 2).tobytes() == below.tobytes()
    assert sorted(computed) == ["ct", "ct", "xray", "xray"]
    assert len(list(tmp_path.iterdir())) == 4


def test_features_of_a_backbone_that_is_trained_fill_no_disk(parted, draw_images, tmp_path):
    phase = TOP.model_copy(update={"local_epochs": 3})
    fit(
        parted, FeatureStore(parted, tmp_path), draw_images(6, 5), draw_images(3, 3, seed=2), phase, 0.01, 1, patience=3
    )
    assert sorted(file.name.split("-")[1] for file in tmp_path.iterdir()) == ["ct", "xray"]


def test_the_two_halves_of_a_backbone_are_the_backbone(parted, draw_images):
    images = draw_images(3, 0).xray.images.astype(np.float32)
    backbone = parted.model.get_layer("xray_backbone")
    below, above = split_backbone(backbone, 3)
    assert above(below(images)).numpy() == pytest.approx(backbone(images).numpy(), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("top", [0, 99])
def test_more_blocks_than_there_are_cannot_be_cut_off(parted, top):
    with pytest.raises(ValueError, match=rf"parts.top is {top}, but the backbone xray_backbone_network has 11 blocks"):
        split_backbone(parted.model.get_layer("xray_backbone"), top)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "blocks"), [("EfficientNetB0", 16), ("EfficientNetLite0", 16), ("ResNet50", 16), ("DenseNet121", 58)]
)
def test_blocks_are_told_by_their_names_in_other_families(name, blocks):
    backbone = build_backbone(name, 64, "ct_backbone", "frozen", 0.9)
    below, above = split_backbone(backbone, 2)
    assert len(below.weights) + len(above.weights) == len(backbone.weights)
    with pytest.raises(ValueError, match=f"has {blocks} blocks"):
        split_backbone(backbone, blocks)


def test_an_encoder_is_trained_from_its_images_beside_frozen_features_and_nothing_frozen_drops_out(parted, draw_images):
    assert parted.given(scope_of(CT)) == {"xray": 0, "ct": None}
    _, moved = trained(parted, draw_images(4, 4), draw_images(0, 0), CT)
    assert set(moved) == {"ct.backbone", "ct.projection", "cancer"}
    still = [layer.name for layer in parted.model.layers if "call" in vars(layer)]
    assert still == [], "layers are themselves again after the tracing"


def test_each_part_has_its_own_rate(parted, draw_images):
    """Adam's first step is the learning rate, whatever the gradient."""
    images = draw_images(4, 4)
    report, moved = trained(parted, images, draw_images(0, 0), CT, rate=0.01)
    assert report.steps == 1
    largest = {name: float(np.abs(values).max()) for name, values in moved.items() if name == "cancer"}
    assert largest["cancer"] == pytest.approx(0.01, rel=0.01)
    learned = [slot for slot in parted.layout.slots["ct.projection"] if "moving" not in slot.name]
    assert max(float(np.abs(moved["ct.projection"][s.start : s.stop]).max()) for s in learned) == pytest.approx(
        0.001, rel=0.01
    )


def test_statistics_of_a_frozen_projection_stay(parted, draw_images):
    _, moved = trained(parted, draw_images(4, 4), draw_images(0, 0), ENDS)
    assert set(moved) == {"disease", "ct.projection"}


def test_a_stopped_part_is_left_out(parted, draw_images):
    _, moved = trained(parted, draw_images(4, 4), draw_images(0, 0), TOP, stopped=("xray",))
    assert set(moved) == {"fusion"}


def test_a_hospital_without_the_encoder_that_is_trained_has_nothing_to_train(small_experiment, draw_images):
    raw = small_experiment.model_dump(mode="json")
    raw["model"]["absent"] = "token"
    phase = PhaseConfig(rounds=1, trainable="parts", parts={"ct": {}})
    raw["training"]["phases"] = [phase.model_dump(mode="json")]
    network = Network(Experiment.model_validate(raw), ("xray",))
    report, moved = trained(network, draw_images(4, 0), draw_images(0, 0), phase)
    assert (report.pairs, report.loss, moved) == (0, None, {})


def test_beside_the_heads_an_encoder_is_its_backbone():
    phase = PhaseConfig(rounds=1, trainable="parts", parts={"heads": {}, "xray": {"rate_factor": 0.5, "top": 3}})
    scope = scope_of(phase)
    assert isinstance(scope, Scope)
    assert dict(scope.factors) == {
        "xray.projection": 1, "ct.projection": 1, "fusion": 1, "disease": 1, "cancer": 1, "xray.backbone": 0.5,
    }  # fmt: skip
    assert dict(scope.tops) == {"xray": 3}


def test_the_position_in_a_phase_is_told(small_experiment):
    training = small_experiment.training.model_copy(update={"phases": (TOP, CT.model_copy(update={"rounds": 3}))})
    assert [plan_round(training, number).position for number in (1, 2, 3, 4)] == [0, 0, 1, 2]


def test_statistics_are_measured_of_the_last_blocks_alone(parted, draw_images):
    """fedbn: what lies below them stays as the hospitals have used it."""
    before = parted.layout.read()
    measure_batch_norm(parted, FeatureStore(parted, None), draw_images(6, 5), scope_of(TOP))
    after = parted.layout.read()
    assert {name for name in after if not np.array_equal(before[name], after[name])} == {
        "xray.backbone",
        "xray.projection",
    }
    for where in parted.frozen(scope_of(TOP))["xray.backbone"]:
        assert np.array_equal(before["xray.backbone"][where], after["xray.backbone"][where])


def test_the_last_blocks_of_the_backbone_that_is_shipped_with_the_program_can_be_trained(small_experiment):
    """Its layers' names begin with an underscore, which TensorFlow takes below another name only."""
    training = {"phases": [{"rounds": 1, "trainable": "parts", "parts": {"ct": {"top": 1}}}]}
    model = small_experiment.model.model_dump(mode="json") | {"backbone": "EfficientNetLite0"}
    changed = small_experiment.model_dump(mode="json", exclude={"privacy"}) | {"training": training, "model": model}
    network = Network(Experiment.model_validate(changed, strict=False))
    network.start(scope_of(network.experiment.training.phases[0]), 1)
