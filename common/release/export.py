"""A saved model in a form that other software runs, checked to answer alike.

The exported network takes two float32 batches ``xray`` and ``ct`` (N, S, S, 3) in 0…255 and gives ``disease`` and
``cancer``, calibrated; scaling and normalisation are inside. A network with tokens also takes ``xray_present`` and
``ct_present`` (N, 1). Decoding, CT windows and resizing are not: ``model.json``
beside it says how (image_size, aspect, ct_windows), and holds the thresholds.
"""

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fedthorax.common.config.data import CacheConfig
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.machine import native_stderr_closed
from fedthorax.common.ground.new_folder import new_folder
from fedthorax.common.model.backbone import all_layers
from fedthorax.common.model.dual import image_to_logits, presence_inputs
from fedthorax.common.model.segments import MODALITIES
from fedthorax.common.pixels.cache import decode_all
from fedthorax.common.records.records import ImageRef
from fedthorax.common.release.saved_model import SavedModel, load_saved_model, pack

Target = Literal["zip", "savedmodel", "onnx", "tflite"]
Batch = Mapping[str, NDArray[np.float32]]
Runner = Callable[[Batch], dict[str, NDArray[np.float32]]]

MAX_DIFFERENCE = 1e-3
"""Of a probability, between the saved model and an exported one, on the images that check it."""

_NUM_DRAWN = 4


def export_model(
    model_path: Path, target: Target, out: Path, xrays: Sequence[ImageRef] = (), slices: Sequence[ImageRef] = ()
) -> dict[str, Any]:
    """Write the file ``out`` (zip) or the folder ``out`` with the exported model, ``model.json`` and ``card.md``.

    Returns ``path``, ``max_difference`` of a probability (None for zip, which holds the model itself), ``checked_on``,
    the pairs and whether they were real images, and ``views``, of which the model's thresholds want the mean. Without
    images the check draws noise. FileExistsError if ``out`` is there; RuntimeError where the difference is above
    ``MAX_DIFFERENCE``: then nothing is left behind.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; name another place with --out")
    saved = load_saved_model(model_path)
    out.parent.mkdir(parents=True, exist_ok=True)
    if target == "zip":
        return {"path": str(pack(saved, out)), "max_difference": None, "checked_on": None, "views": saved.views}
    batch, words = _images(saved, xrays, slices)
    network = calibrated_network(saved)
    network({name: images[:1] for name, images in batch.items()}, training=False)  # Keras exports no uncalled network
    with new_folder(out) as folder:
        run = _WRITERS[target](network, folder)
        difference = max_difference(saved, batch, run)
        if not difference <= MAX_DIFFERENCE:
            raise RuntimeError(
                f"the {target} model differs from {saved.path} by up to {difference:.2g} in a probability on {words}, "
                f"more than {MAX_DIFFERENCE:g}; it was not kept"
            )
        exported = {"to": target, "inputs": _INPUTS, "views": 1}  # the network's; the caller means over the model's
        facts = {**saved.facts, "models": {saved.path.name: saved.entry}, "exported": exported}
        write_json(folder / "model.json", facts)
        card = saved.path.with_name("card.md")
        if card.is_file():
            shutil.copyfile(card, folder / "card.md")
    return {"path": str(out), "max_difference": difference, "checked_on": words, "views": saved.views}


_INPUTS = (
    "xray, ct: float32 (N, image_size, image_size, 3) in 0 to 255; where absent is token also xray_present and "
    "ct_present: float32 (N, 1), 1 or 0; outputs disease, cancer: calibrated"
)


def calibrated_network(saved: SavedModel) -> keras.Model:
    """``[xray, ct]`` → ``disease`` and ``cancer`` as ``fedthorax predict`` gives them."""
    logits = image_to_logits(saved.model)
    labels = list(saved.points.disease.values())
    slopes, intercepts = [label.slope for label in labels], [label.intercept for label in labels]
    disease = keras.layers.Rescaling(slopes, intercepts, name="disease_calibration")(logits.output["disease"])
    cancer = keras.layers.Rescaling(1 / saved.points.cancer_temperature, name="cancer_calibration")(
        logits.output["cancer"]
    )
    outputs = {
        "disease": keras.layers.Activation("sigmoid", name="disease")(disease),
        "cancer": keras.layers.Activation("softmax", name="cancer")(cancer),
    }
    names = (*MODALITIES, *presence_inputs(saved.model))
    return keras.Model(dict(zip(names, logits.inputs, strict=True)), outputs, name="fedthorax_calibrated")


def max_difference(saved: SavedModel, batch: Batch, run: Runner) -> float:
    """The largest distance between a probability of the saved model, calibrated, and the exported one's."""
    raw = saved.model(dict(batch), training=False)
    expected = {
        "disease": saved.points.calibrated_disease(np.asarray(raw["disease"])),
        "cancer": saved.points.calibrated_cancer(np.asarray(raw["cancer"])),
    }
    got = run(batch)
    return max(float(np.abs(expected[head] - got[head]).max()) for head in expected)


def _images(saved: SavedModel, xrays: Sequence[ImageRef], slices: Sequence[ImageRef]) -> tuple[Batch, str]:
    """What the check runs on, every input of the network, and that in words. A network with tokens may be given X-rays
    alone, or CT slices alone; ValueError where another one is."""
    size, aspect, tokens = saved.facts["image_size"], saved.facts["aspect"], presence_inputs(saved.model)
    given = {"xray": xrays, "ct": slices}
    here = [name for name, images in given.items() if images] or list(given)
    if len(here) == 1 and not tokens:
        raise ValueError(f"only --{here[0]} is given, but the model looks at pairs; give --xray and --ct, or neither")
    batch: dict[str, NDArray[np.float32]] = {}
    if not xrays and not slices:
        count, rng = _NUM_DRAWN, np.random.default_rng(0)
        batch = {name: rng.uniform(0, 255, (count, size, size, 3)).astype(np.float32) for name in MODALITIES}
        words = f"{count} pairs of drawn noise (name real images with --xray and --ct)"
    else:
        count = min(len(given[name]) for name in here)
        for name in MODALITIES:
            modality: Literal["xray", "ct"] = "xray" if name == "xray" else "ct"
            if name not in here:
                batch[name] = np.zeros((count, size, size, 3), np.float32)
                continue
            found = decode_all(given[name][:count], size, aspect, CacheConfig(), None, modality, saved.windows)
            if found.bad:
                raise ValueError(str(found.bad[0]))
            batch[name] = np.asarray(found.images, np.float32)
        kinds = {"xray": "real X-rays alone", "ct": "real CT slices alone"}
        words = f"{count} {kinds[here[0]] if len(here) == 1 else 'pairs of real images'}"
    present = {f"{name}_present": np.full((count, 1), name in here, np.float32) for name in MODALITIES}
    return {**batch, **{name: present[name] for name in tokens}}, words


def _to_savedmodel(network: keras.Model, folder: Path) -> Runner:
    network.export(str(folder / "savedmodel"), format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(folder / "savedmodel"))
    return lambda batch: {name: value.numpy() for name, value in loaded.serve(dict(batch)).items()}


def _to_tflite(network: keras.Model, folder: Path) -> Runner:
    network.export(str(folder / "savedmodel"), format="tf_saved_model", verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder / "savedmodel")).convert()
    shutil.rmtree(folder / "savedmodel")
    (folder / "model.tflite").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the interpreter moves to another package
        interpreter = tf.lite.Interpreter(model_content=content)
    with native_stderr_closed():  # its native code tells of every delegate that it makes
        interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner("serving_default")

    def run(batch: Batch) -> dict[str, NDArray[np.float32]]:
        rows = [signature(**{name: batch[name][row : row + 1] for name in batch}) for row in range(len(batch["xray"]))]
        return {head: np.concatenate([row[head] for row in rows]) for head in rows[0]}

    return run


def _to_onnx(network: keras.Model, folder: Path) -> Runner:
    try:
        import onnxruntime
        import tf2onnx  # noqa: F401
    except ImportError as error:
        raise RuntimeError("export to onnx needs tf2onnx and onnxruntime: pip install 'fed-thorax[export]'") from error
    file = folder / "model.onnx"
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.Normalization):
            # As tensors of their own they would become inputs of the graph, which nobody feeds.
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras asks NumPy for a name that it no longer has
        network.export(str(file), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    heads = [output.name for output in session.get_outputs()]

    def run(batch: Batch) -> dict[str, NDArray[np.float32]]:
        return dict(zip(heads, session.run(heads, dict(batch)), strict=True))

    return run


_WRITERS: Mapping[str, Callable[[keras.Model, Path], Runner]] = {
    "savedmodel": _to_savedmodel,
    "tflite": _to_tflite,
    "onnx": _to_onnx,
}
