"""The dual-modal, multi-task network: two encoders, feature-level fusion, two heads. Stock Keras layers only.

X-ray (S, S, 3) → backbone → pooled → Dense, ReLU → BatchNorm → Dropout → Dense, ReLU → features; CT the same with its
own weights; concatenated → Dense, ReLU … → ``disease`` (sigmoid, one unit a finding) and ``cancer`` (softmax, one unit
a class). Every layer's name begins with its branch.
"""

import keras

from fedthorax.common.config.labels import LabelsConfig
from fedthorax.common.config.model import ModelConfig
from fedthorax.common.model.backbone import all_layers, build_backbone
from fedthorax.common.model.pretrained import find_weights, load_backbone_weights
from fedthorax.common.seeds import derive_seed

MODALITIES = ("xray", "ct")


def build_model(config: ModelConfig, labels: LabelsConfig, seed: int) -> keras.Model:
    """The network with its starting weights; the same ``seed`` gives the same weights bit by bit.

    Inputs ``{"xray", "ct"}``: float (N, S, S, 3) in 0…255. Outputs ``{"disease", "cancer"}``: probabilities
    (N, findings) and (N, classes). Raises FileNotFoundError or ValueError when the
    pretrained weights are missing or do not fit.
    """
    weights = find_weights(config.weights, config.backbone)  # before the slow part
    inputs = {name: keras.Input((config.image_size, config.image_size, 3), name=name) for name in MODALITIES}
    features = []
    for name in MODALITIES:
        backbone = build_backbone(
            config.backbone, config.image_size, f"{name}_backbone", config.batch_norm, config.batch_norm_momentum
        )
        features.append(_project(backbone(inputs[name]), name, config))
    logits = _fuse(features, config, labels)
    outputs = {
        "disease": keras.layers.Activation("sigmoid", name="disease")(logits["disease"]),
        "cancer": keras.layers.Activation("softmax", name="cancer")(logits["cancer"]),
    }
    model = keras.Model(inputs, outputs, name="fedthorax")
    draw_weights(model, seed)
    if weights is not None:
        for name in MODALITIES:
            load_backbone_weights(model.get_layer(f"{name}_backbone"), weights)
    return model


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
    hidden = keras.layers.Dense(config.encoder_units, activation="relu", name=f"{name}_dense")(pooled)
    hidden = keras.layers.BatchNormalization(momentum=config.batch_norm_momentum, name=f"{name}_batch_norm")(hidden)
    hidden = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(hidden)
    return keras.layers.Dense(config.feature_units, activation="relu", name=f"{name}_features")(hidden)


def _fuse(features: list[keras.KerasTensor], config: ModelConfig, labels: LabelsConfig) -> dict[str, keras.KerasTensor]:
    fused = keras.layers.Concatenate(name="fusion_concatenate")(features)
    for index, units in enumerate(config.fusion_units, start=1):
        fused = keras.layers.Dense(units, activation="relu", name=f"fusion_dense_{index}")(fused)
    return {
        "disease": keras.layers.Dense(len(labels.findings), name="disease_logits")(fused),
        "cancer": keras.layers.Dense(len(labels.cancer_classes), name="cancer_logits")(fused),
    }


def image_to_logits(model: keras.Model) -> keras.Model:
    """The same network and weights up to the logits, which training needs for numerically safe losses.

    Takes ``[xray, ct]``, in this order; ``model.inputs`` would be sorted by name.
    """
    inputs = [model.get_layer(name).output for name in MODALITIES]
    logits = {head: model.get_layer(f"{head}_logits").output for head in ("disease", "cancer")}
    return keras.Model(inputs, logits, name="image_to_logits")


def pooled_to_logits(model: keras.Model) -> keras.Model:
    """The same layers after the backbones: pooled features ``[xray, ct]`` (N, D) → logits. Shares the weights."""
    inputs, features = [], []
    for name in MODALITIES:
        pooled = keras.Input(model.get_layer(f"{name}_backbone").output.shape[1:], name=f"{name}_pooled")
        hidden = pooled
        for part in ("dense", "batch_norm", "dropout", "features"):
            hidden = model.get_layer(f"{name}_{part}")(hidden)
        inputs.append(pooled)
        features.append(hidden)
    fused = model.get_layer("fusion_concatenate")(features)
    for layer in model.layers:
        if layer.name.startswith("fusion_dense_"):
            fused = layer(fused)
    logits = {head: model.get_layer(f"{head}_logits")(fused) for head in ("disease", "cancer")}
    return keras.Model(inputs, logits, name="pooled_to_logits")
