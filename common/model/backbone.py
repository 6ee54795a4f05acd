"""The encoders' convolutional backbones: any two-dimensional family of keras.applications, and EfficientNet-Lite0, each
with its own preprocessing.

Every backbone takes RGB images with values in 0…255 and gives globally average-pooled features, so that nothing
outside the saved model has to know how a family wants its input scaled.
"""

import difflib
import inspect
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


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of ``model`` and of the models inside it, in order."""
    layers = []
    for layer in model.layers:
        layers.extend(all_layers(layer) if isinstance(layer, keras.Model) else [layer])
    return layers
