import keras
import numpy as np
import pytest

from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.model.backbone import all_layers, backbone_names, build_backbone, preprocessing_of
from fedthorax.common.model.dual import build_model, image_to_logits, pooled_to_logits
from fedthorax.common.model.segments import SEGMENTS, SegmentLayout, weights_digest

LABELS = LabelsConfig(findings=("Effusion", "Mass", "Nodule"), cancer_classes=("normal", "tumour"))
CONFIG = ModelConfig(weights="none", image_size=32, batch_norm="train", batch_norm_momentum=0.0)


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.uniform(0, 255, (16, 32, 32, 3)).astype(np.float32) for name in ("xray", "ct")}


@pytest.fixture(scope="module")
def model(images) -> keras.Model:
    model = build_model(CONFIG, LABELS, seed=1)
    model(images, training=True)  # momentum 0 takes over this batch's statistics, so that features do not vanish
    return model


def test_the_default_architecture_is_the_one_of_the_project():
    default = ModelConfig()
    assert (default.backbone, default.image_size, default.dropout) == ("EfficientNetB0", 224, 0.3)
    assert (default.encoder_units, default.feature_units, default.fusion_units) == (1024, 512, (1024, 512))


def test_layer_by_layer(model):
    shapes = {layer.name: (type(layer).__name__, layer.output.shape[1:]) for layer in model.layers}
    encoder = {
        "backbone": ("Functional", (1280,)),
        "dense": ("Dense", (1024,)),
        "batch_norm": ("BatchNormalization", (1024,)),
        "dropout": ("Dropout", (1024,)),
        "features": ("Dense", (512,)),
    }
    expected = {f"{name}_{part}": kind for name in ("xray", "ct") for part, kind in encoder.items()} | {
        "xray": ("InputLayer", (32, 32, 3)),
        "ct": ("InputLayer", (32, 32, 3)),
        "fusion_concatenate": ("Concatenate", (1024,)),
        "fusion_dense_1": ("Dense", (1024,)),
        "fusion_dense_2": ("Dense", (512,)),
        "disease_logits": ("Dense", (3,)),
        "cancer_logits": ("Dense", (2,)),
        "disease": ("Activation", (3,)),
        "cancer": ("Activation", (2,)),
    }
    assert shapes == expected


def test_every_hidden_dense_has_a_relu_and_the_heads_sigmoid_and_softmax(model):
    activations = {layer.name: layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")}
    hidden = {"xray_dense", "xray_features", "ct_dense", "ct_features", "fusion_dense_1", "fusion_dense_2"}
    assert {name for name, activation in activations.items() if activation == "relu"} == hidden
    assert (activations["disease"], activations["cancer"]) == ("sigmoid", "softmax")
    assert model.get_layer("xray_dropout").rate == 0.3


def test_the_encoders_share_nothing_and_start_differently(model):
    layout = SegmentLayout(build_model(CONFIG, LABELS, seed=1))
    assert not np.array_equal(layout.read()["xray.backbone"], layout.read()["ct.backbone"])
    xray, ct = (set(map(id, model.get_layer(f"{name}_backbone").weights)) for name in ("xray", "ct"))
    assert not xray & ct


def test_probabilities_come_out(model, images):
    outputs = {name: np.asarray(values) for name, values in model(images).items()}
    assert outputs["disease"].shape == (16, 3)
    assert ((outputs["disease"] >= 0) & (outputs["disease"] <= 1)).all()
    assert np.allclose(outputs["cancer"].sum(axis=1), 1, atol=1e-6)


@pytest.mark.ci
def test_the_same_seed_gives_the_same_starting_weights_bit_by_bit_whatever_else_draws(monkeypatch):
    # Other threads use Python's global random generator too.
    clock = iter(range(1, 10**6))
    monkeypatch.setattr("random.randint", lambda low, high: next(clock))
    one, again, other = (build_model(CONFIG, LABELS, seed=seed) for seed in (1, 1, 2))
    digests = [weights_digest(SegmentLayout(each).read()) for each in (one, again, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("backbone", ["EfficientNetB0", "MobileNetV3Small", "MobileNet", "Xception", "ConvNeXtTiny"])
def test_every_kernel_is_drawn_whatever_kind_of_layer_it_belongs_to(backbone):
    config = ModelConfig(weights="none", backbone=backbone, image_size=71, absent="token")
    one = build_model(config, LABELS, seed=1, modalities=("xray",))
    kernels = [variable for variable in one.trainable_variables if "kernel" in variable.path]
    assert len(kernels) > 10
    assert [kernel.path for kernel in kernels if np.asarray(kernel).std() == 0] == []
    drawn = np.asarray(keras.initializers.VarianceScaling(seed=1)((8, 8)))
    assert drawn.std() > 0  # layers that others build draw their weights as ever


@pytest.mark.ci
def test_a_saved_model_opens_with_plain_keras_and_predicts_the_same(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for head, values in model(images).items():
        assert np.array_equal(np.asarray(loaded(images)[head]), np.asarray(values))


def test_the_heads_on_pooled_features_are_the_same_network(model, images):
    pooled = [model.get_layer(f"{name}_backbone")(images[name]) for name in ("xray", "ct")]
    through_pooled = pooled_to_logits(model)(pooled)
    whole = image_to_logits(model)([images["xray"], images["ct"]])
    for head in ("disease", "cancer"):
        assert np.abs(np.asarray(whole[head])).max() > 0.01  # else the comparison would say nothing
        assert np.allclose(np.asarray(through_pooled[head]), np.asarray(whole[head]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("policy", "trainable"), [("frozen", False), ("train", True)])
def test_the_batch_norm_policy_and_momentum_reach_the_backbone(policy, trainable):
    backbone = build_backbone("EfficientNetB0", 32, "xray_backbone", policy, 0.8)
    norms = [layer for layer in all_layers(backbone) if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 49
    assert {layer.trainable for layer in norms} == {trainable}
    assert {layer.momentum for layer in norms} == {0.8}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EfficientNetB0", "inside"),
        ("EfficientNetV2S", "inside"),
        ("MobileNetV3Small", "inside"),
        ("MobileNetV2", "tf"),
        ("DenseNet121", "torch"),
        ("ResNet50", "caffe"),
        ("ResNet50V2", "tf"),
        ("InceptionResNetV2", "tf"),
    ],
)
def test_each_family_gets_its_own_preprocessing(name, expected):
    assert preprocessing_of(name) == expected
    assert name in backbone_names()


@pytest.mark.parametrize(
    ("name", "module"), [("MobileNetV2", "mobilenet_v2"), ("DenseNet121", "densenet"), ("ResNet50", "resnet")]
)
def test_the_preprocessing_equals_the_one_of_keras_applications(name, module, images):
    backbone = build_backbone(name, 32, "xray_backbone", "frozen", 0.9)
    network = next(layer for layer in backbone.layers if isinstance(layer, keras.Model))
    prepared = getattr(keras.applications, module).preprocess_input(images["xray"].copy())
    assert np.allclose(np.asarray(backbone(images["xray"])), np.asarray(network(prepared)), atol=1e-4)


def test_an_unknown_backbone_is_refused_with_a_hint():
    with pytest.raises(ValueError, match="got 'EfficientNetb0'; did you mean EfficientNetB0"):
        build_backbone("EfficientNetb0", 32, "xray_backbone", "frozen", 0.9)


def test_segments_hold_every_float_weight_once(model):
    layout = SegmentLayout(model)
    floats = [w for w in model.weights if keras.backend.is_float_dtype(w.dtype)]
    assert sum(layout.sizes.values()) == sum(int(np.prod(w.shape)) for w in floats)
    assert sum(len(slots) for slots in layout.slots.values()) == len(floats)
    assert layout.sizes["cancer"] == 512 * 2 + 2


def test_written_segments_change_what_the_model_says(model, images):
    layout = SegmentLayout(model)
    before = layout.read()
    try:
        layout.write({"cancer": np.zeros_like(before["cancer"])})
        assert np.allclose(np.asarray(model(images)["cancer"]), 0.5)
    finally:
        layout.write(before)
    assert weights_digest(layout.read()) == weights_digest(before)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"fusion": np.zeros(3, np.float32)},
            r"segment fusion: expected 1574400 values .* got an array of shape \(3,\)",
        ),
        ({"brain": np.zeros(3, np.float32)}, "unknown segment 'brain'; this model has xray.backbone"),
    ],
)
def test_segments_of_another_model_are_refused(model, weights, message):
    with pytest.raises(ValueError, match=message):
        SegmentLayout(model).write(weights)


def test_a_position_is_named_by_its_variable(model):
    layout = SegmentLayout(model)
    assert set(layout.sizes) == set(SEGMENTS)
    assert layout.name_at("cancer", 0) == "cancer_logits/kernel"
    assert layout.name_at("cancer", 1024) == "cancer_logits/bias"
