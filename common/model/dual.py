"""The dual-modal, multi-task network: two encoders, feature-level fusion, two heads. Stock Keras layers only.

X-ray (S, S, 3) → backbone → pooled → Dense, ReLU → BatchNorm → Dropout → Dense, ReLU → features; CT the same with its
own weights; concatenated → Dense, ReLU … → ``disease`` (sigmoid, one unit a finding) and ``cancer`` (softmax, one unit
a class). Every layer's name begins with its branch.

``model.head_norm`` is the normalisation in between. Without ``model.fusion_units`` nothing is fused: findings are read
from the X-ray alone, classes from CT alone. With ``model.projection: fixed`` one linear layer that is never
trained stands between pooled and features; the server sets it (common/training/projection.py).

With ``model.absent: token`` there are two more inputs, ``xray_present`` and ``ct_present`` (N, 1), 1 or 0: where one is
0, learned numbers take the place of that modality's features, whatever its image holds.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.model.backbone import all_layers, build_backbone
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights
from fedthorax.common.model.segments import MODALITIES, TOKEN

HEADS = ("disease", "cancer")  # in the order of the modalities whose images have the labels


def build_model(
    config: ModelConfig, labels: LabelsConfig, seed: int, modalities: Sequence[str] = MODALITIES
) -> keras.Model:
    """The network with its starting weights; the same ``seed`` gives the same weights bit by bit.

    Inputs ``{"xray", "ct"}``: float (N, S, S, 3) in 0…255. Outputs ``{"disease", "cancer"}``: probabilities
    (N, findings) and (N, classes). ``modalities`` with one name only leave the other encoder out; its token stays.
    Raises FileNotFoundError or ValueError when the
    pretrained weights are missing or do not fit.
    """
    weights = find_weights(config.weights, config.backbone)  # before the slow part
    with _nothing_drawn():
        model = _built(config, labels, modalities)
    draw_weights(model, seed)
    if weights is not None:
        for name in modalities:
            load_backbone_weights(model.get_layer(f"{name}_backbone"), weights)
    return model


def _built(config: ModelConfig, labels: LabelsConfig, modalities: Sequence[str]) -> keras.Model:
    inputs = {name: keras.Input((config.image_size, config.image_size, 3), name=name) for name in modalities}
    features = {}
    for name in modalities:
        backbone = build_backbone(
            config.backbone, config.image_size, f"{name}_backbone", config.batch_norm, config.batch_norm_momentum
        )
        features[name] = _project(backbone(inputs[name]), name, config)
    if config.absent == "token":
        presence = {f"{name}_present": keras.Input((1,), name=f"{name}_present") for name in MODALITIES}
        inputs |= presence
        for name in MODALITIES:
            absent = keras.layers.Rescaling(-1.0, 1.0, name=f"{name}_absent")(presence[f"{name}_present"])
            # A token says nothing where no head sees the other modality: it stays 0.
            options: dict[str, Any] = {"use_bias": False, "name": f"fusion_{name}{TOKEN}"}
            if not config.fusion_units:
                options |= {"kernel_initializer": "zeros", "trainable": False}
            token = keras.layers.Dense(config.feature_units, **options)(absent)
            if name in features:
                kept = keras.layers.Multiply(name=f"{name}_kept")([features[name], presence[f"{name}_present"]])
                token = keras.layers.Add(name=f"{name}_or_token")([kept, token])
            features[name] = token
    logits = _fuse(features, config, labels)
    outputs = {
        "disease": keras.layers.Activation("sigmoid", name="disease")(logits["disease"]),
        "cancer": keras.layers.Activation("softmax", name="cancer")(logits["cancer"]),
    }
    return keras.Model(inputs, outputs, name="fedthorax")


@contextmanager
def _nothing_drawn() -> Iterator[None]:
    """Layers that would draw their weights by variance scaling begin with zeros: ``draw_weights`` draws all of them
    anew, and millions of random numbers take their time."""
    drawing = keras.initializers.VarianceScaling.__call__

    def zeros(self: Any, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.zeros(shape, dtype)

    keras.initializers.VarianceScaling.__call__ = zeros
    try:
        yield
    finally:
        keras.initializers.VarianceScaling.__call__ = drawing


def draw_weights(model: keras.Model, seed: int) -> None:
    """Draw every randomly initialised weight anew from ``seed``.

    Keras takes unseeded initialisers' seeds from Python's global ``random``, which other threads (Flower's, Ray's) draw
    from at the same time: setting that seed does not make a model reproducible.
    """
    for position, layer in enumerate(all_layers(model)):  # names can repeat, or count models built before
        for weight, initializer in _RANDOM_WEIGHTS:
            if getattr(layer, initializer, None) is not None and hasattr(layer, weight):
                variable, chosen = getattr(layer, weight), getattr(layer, initializer)
                config = chosen.get_config()
                if "seed" in config:
                    own_seed = derive_seed(seed, "initial weights", position, weight)
                    redrawn = type(chosen).from_config({**config, "seed": own_seed})
                    variable.assign(redrawn(variable.shape, dtype=variable.dtype))


# The weights of stock layers that begin at random, and the attribute that says how; a depthwise convolution calls its
# weight a kernel and its initialiser a depthwise one.
_RANDOM_WEIGHTS = (
    ("kernel", "kernel_initializer"),
    ("kernel", "depthwise_initializer"),
    ("depthwise_kernel", "depthwise_initializer"),
    ("pointwise_kernel", "pointwise_initializer"),
)


def _project(pooled: keras.KerasTensor, name: str, config: ModelConfig) -> keras.KerasTensor:
    if config.projection == "fixed":
        return keras.layers.Dense(config.feature_units, trainable=False, name=f"{name}_features")(pooled)
    hidden = keras.layers.Dense(config.encoder_units, activation="relu", name=f"{name}_dense")(pooled)
    if config.head_norm == "batch":
        hidden = keras.layers.BatchNormalization(momentum=config.batch_norm_momentum, name=f"{name}_batch_norm")(hidden)
    elif config.head_norm == "layer":
        hidden = keras.layers.LayerNormalization(name=f"{name}_layer_norm")(hidden)
    hidden = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden)
    return keras.layers.Dense(config.feature_units, activation="relu", name=f"{name}_features")(hidden)


def _fuse(
    features: Mapping[str, keras.KerasTensor], config: ModelConfig, labels: LabelsConfig
) -> dict[str, keras.KerasTensor]:
    seen = dict(zip(HEADS, (features[name] for name in MODALITIES), strict=True))  # without fusion each sees its own
    if config.fusion_units:
        fused = keras.layers.Concatenate(name="fusion_concatenate")([features[name] for name in MODALITIES])
        for index, units in enumerate(config.fusion_units, start=1):
            fused = keras.layers.Dense(units, activation="relu", name=f"fusion_dense_{index}")(fused)
        seen = dict.fromkeys(HEADS, fused)
    outputs = {"disease": len(labels.findings), "cancer": len(labels.cancer_classes)}
    start = {"kernel_initializer": "zeros"} if config.projection == "fixed" and not config.fusion_units else {}
    return {head: keras.layers.Dense(outputs[head], name=f"{head}_logits", **start)(seen[head]) for head in HEADS}


def image_to_logits(model: keras.Model) -> keras.Model:
    """The same network and weights up to the logits, which training needs for numerically safe losses.

    Takes ``[xray, ct]``, in this order, of them those that the network has, and with tokens ``xray_present`` and
    ``ct_present``; ``model.inputs`` would be sorted by name.
    """
    inputs = [model.get_layer(name).output for name in (*modalities_of(model), *presence_inputs(model))]
    logits = {head: model.get_layer(f"{head}_logits").output for head in HEADS}
    return keras.Model(inputs, logits, name="image_to_logits")


def projection_layers(model: keras.Model, modality: str) -> list[keras.layers.Layer]:
    """What lies between the pooled features of a modality and its features, in their order."""
    names = {layer.name for layer in model.layers}
    parts = ("dense", "batch_norm", "layer_norm", "dropout", "features")
    return [model.get_layer(f"{modality}_{part}") for part in parts if f"{modality}_{part}" in names]


def fusion_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The dense layers behind the concatenation; none where there is no fusion."""
    return [layer for layer in model.layers if layer.name.startswith("fusion_dense_")]


def modalities_of(model: keras.Model) -> tuple[str, ...]:
    """The modalities for which the network has an encoder."""
    names = {layer.name for layer in model.layers}
    return tuple(name for name in MODALITIES if name in names)


def presence_inputs(model: keras.Model) -> tuple[str, ...]:
    """The inputs that say what is there: one a modality where the network has tokens, else none."""
    names = {layer.name for layer in model.layers}
    return tuple(f"{name}_present" for name in MODALITIES if f"{name}_present" in names)


def _features_or_tokens(
    model: keras.Model, features: Mapping[str, keras.KerasTensor], presence: Sequence[keras.KerasTensor]
) -> list[keras.KerasTensor]:
    if not presence:
        return [features[name] for name in MODALITIES]
    chosen = []
    for name, present in zip(MODALITIES, presence, strict=True):
        token = model.get_layer(f"fusion_{name}{TOKEN}")(model.get_layer(f"{name}_absent")(present))
        if name in features:
            kept = model.get_layer(f"{name}_kept")([features[name], present])
            token = model.get_layer(f"{name}_or_token")([kept, token])
        chosen.append(token)
    return chosen


def pooled_to_logits(model: keras.Model) -> keras.Model:
    """The same layers after the backbones: pooled features (N, D) in the order of ``image_to_logits`` → logits. Shares
    the weights."""
    inputs: list[keras.KerasTensor] = []
    features: dict[str, keras.KerasTensor] = {}
    for name in modalities_of(model):
        pooled = keras.Input(model.get_layer(f"{name}_backbone").output.shape[1:], name=f"{name}_pooled")
        hidden = pooled
        for layer in projection_layers(model, name):
            hidden = layer(hidden)
        inputs.append(pooled)
        features[name] = hidden
    presence = [keras.Input((1,), name=f"given_{name}") for name in presence_inputs(model)]
    inputs += presence
    chosen = _features_or_tokens(model, features, presence)
    fusion = fusion_layers(model)
    seen = dict(zip(HEADS, chosen, strict=True))
    if fusion:
        fused = model.get_layer("fusion_concatenate")(chosen)
        for layer in fusion:
            fused = layer(fused)
        seen = dict.fromkeys(HEADS, fused)
    logits = {head: model.get_layer(f"{head}_logits")(seen[head]) for head in HEADS}
    return keras.Model(inputs, logits, name="pooled_to_logits")
