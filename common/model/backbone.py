"""The encoders' convolutional backbones: any two-dimensional family of keras.applications, and EfficientNet-Lite0, each
with its own preprocessing.

Every backbone takes RGB images with values in 0…255 and gives globally average-pooled features, so that nothing
outside the saved model has to know how a family wants its input scaled.
"""

import difflib
import inspect
import re
from typing import Literal

import keras

from fedthorax.common.model.lite0 import LITE0, build_lite0

# How the pretrained weights of a family expect their input (``preprocess_input`` of its keras.applications module):
# "inside": the network begins with its own rescaling; "tf": -1…1; "torch": 0…1, then ImageNet mean and deviation;
# "caffe": BGR, ImageNet mean subtracted; "lite": 127 subtracted, divided by 128.
Preprocessing = Literal["inside", "tf", "torch", "caffe", "lite"]
_PREPROCESSING: dict[str, Preprocessing] = {
    LITE0: "lite",
    "EfficientNetB": "inside",
    "EfficientNetV2": "inside",
    "MobileNetV3": "inside",
    "ConvNeXt": "inside",
    "DenseNet": "torch",
    "ResNet50V2": "tf",
    "ResNet101V2": "tf",
    "ResNet152V2": "tf",
    "ResNet": "caffe",
    "VGG": "caffe",
    "MobileNet": "tf",
    "Xception": "tf",
    "Inception": "tf",
    "NASNet": "tf",
}

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB, of images scaled to 0…1
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)  # of images scaled to 0…255


def backbone_names() -> tuple[str, ...]:
    """Names that ``model.backbone`` accepts."""
    families = [
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value) and any(name.startswith(prefix) for prefix in _PREPROCESSING)
    ]
    return (*families, LITE0)


def preprocessing_of(backbone: str) -> Preprocessing:
    """How ``backbone`` wants its input, by the longest matching family name."""
    if backbone not in backbone_names():
        close = difflib.get_close_matches(backbone, backbone_names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"model.backbone: expected a two-dimensional network of keras.applications such as EfficientNetB0, or "
            f"{LITE0}, got {backbone!r}{hint}"
        )
    prefix = max((prefix for prefix in _PREPROCESSING if backbone.startswith(prefix)), key=len)
    return _PREPROCESSING[prefix]


def build_backbone(
    backbone: str, image_size: int, name: str, batch_norm: Literal["frozen", "train"], momentum: float
) -> keras.Model:
    """A randomly initialised backbone from images (N, S, S, 3) in 0…255 to pooled features (N, D).

    With ``batch_norm`` frozen, batch normalisation stays in inference mode and its scales are not trained.
    """
    preprocessing = preprocessing_of(backbone)
    if backbone == LITE0:
        network = build_lite0(image_size, f"{name}_network")
    else:
        network = getattr(keras.applications, backbone)(
            include_top=False,
            weights=None,
            input_shape=(image_size, image_size, 3),
            pooling="avg",
            name=f"{name}_network",
        )
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
            layer.trainable = batch_norm == "train"
    images = keras.Input((image_size, image_size, 3), name=f"{name}_images")
    scaled = images
    if preprocessing == "tf":
        scaled = keras.layers.Rescaling(1 / 127.5, -1.0, name=f"{name}_rescaling")(images)
    elif preprocessing == "lite":
        scaled = keras.layers.Rescaling(1 / 128, -127 / 128, name=f"{name}_rescaling")(images)
    elif preprocessing == "torch":
        variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
        scaled = keras.layers.Rescaling(1 / 255, name=f"{name}_rescaling")(images)
        scaled = keras.layers.Normalization(mean=IMAGENET_MEAN, variance=variance, name=f"{name}_normalization")(scaled)
    elif preprocessing == "caffe":
        variance = [1.0, 1.0, 1.0]
        scaled = keras.ops.flip(images, axis=-1)
        scaled = keras.layers.Normalization(mean=_CAFFE_MEAN_BGR, variance=variance, name=f"{name}_normalization")(
            scaled
        )
    return keras.Model(images, network(scaled), name=name)


_BLOCK = re.compile(r".*?(?:expanded_conv(?:_\d+)?|blocks?[._]?\d+[a-z]?)(?=[._]|$)")


def split_backbone(backbone: keras.Model, top: int) -> tuple[keras.Model, keras.Model]:
    """What lies below the last ``top`` blocks of a backbone, as Keras names them, and these with all that follows; both
    share its weights. Raises ValueError where there are not as many, or they cannot be cut off."""
    *before, network = backbone.layers[1:]
    starts: dict[str, keras.layers.Layer] = {}
    for layer in network.layers:
        if found := _BLOCK.match(layer.name):
            starts.setdefault(found[0], layer)
    if not 0 < top < len(starts):
        raise ValueError(
            f"training.phases: parts.top is {top}, but the backbone {network.name} has {len(starts)} blocks that can "
            "be told by their names; take fewer, or all of it by leaving top out"
        )
    boundary = list(starts.values())[-top].input
    images = scaled = backbone.input
    for layer in before:
        scaled = layer(scaled)
    below = keras.Model(images, keras.Model(network.input, boundary)(scaled))
    return below, keras.Model(boundary, network.output)


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of ``model`` and of the models inside it, in order."""
    layers = []
    for layer in model.layers:
        layers.extend(all_layers(layer) if isinstance(layer, keras.Model) else [layer])
    return layers
