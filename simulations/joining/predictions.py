"""Every arm's model on every hospital's test images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.config import Experiment
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import SiteImages, SplitImages
from fedthorax.common.hospital.overlap import shared_images, without
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.common.records.records import SPLITS, Split
from fedthorax.common.release.saved_model import load_saved_model
from fedthorax.common.training.compared import Truth
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.runtime import prepare_tensorflow
from fedthorax.common.training.scoring import Predictions, in_use, predict

ByModel = Mapping[str, Mapping[str, Predictions]]


@dataclass(frozen=True)
class Scored:
    """``truth`` by hospital; ``predictions`` by model, then by hospital; ``left_out`` counts test images that a
    hospital trains or validates on; ``counts`` images by hospital, split and modality."""

    truth: dict[str, Truth]
    predictions: dict[str, dict[str, Predictions]]
    left_out: dict[str, int]
    counts: dict[str, dict[Split, dict[str, int]]]


def score_models(
    experiment: Experiment, models: Mapping[str, Path], progress: Callable[[int, int], None] | None = None
) -> Scored:
    """The model files ``models`` by name, each on the test split of all hospitals.

    A test image that any hospital trains or validates on is left out everywhere: to some model it would be known.
    """
    prepare_tensorflow(experiment.training.threads)  # before the models, which start TensorFlow
    data = experiment.data
    sites = {name: load_hospital(experiment, name) for name in data.hospitals}
    tests, left_out = _new_to_all(sites)
    # The stored weights replace the starting ones, so no pretrained file is needed.
    network = Network(experiment.model_copy(update={"model": experiment.model.model_copy(update={"weights": "none"})}))
    store = FeatureStore(network, data.cache.folder)
    seeds = {site: derive_seed(experiment.seed, "evaluation pairs", site, "test") for site in tests}
    predictions: dict[str, dict[str, Predictions]] = {}
    for done, (name, file) in enumerate(models.items()):
        if progress:
            progress(done, len(models))
        network.layout.write(SegmentLayout(load_saved_model(file).model).read())
        predictions[name] = {
            site: predict(network, store, test, seeds[site], repeats=in_use(experiment))[0]
            for site, test in tests.items()
        }
    if progress:
        progress(len(models), len(models))
    counts = {
        name: {split: {"xray": len(images.xray), "ct": len(images.ct)} for split, images in site.splits.items()}
        for name, site in sites.items()
    }
    return Scored({site: Truth.of(test) for site, test in tests.items()}, predictions, left_out, counts)


def _new_to_all(sites: Mapping[str, SiteImages]) -> tuple[dict[str, SplitImages], dict[str, int]]:
    others = [site.splits[split] for site in sites.values() for split in SPLITS if split != "test"]
    seen = {kind: [digest for split in others for digest in split.of(kind).digests] for kind in ("xray", "ct")}
    tests, left_out = {}, {}
    for name, site in sites.items():
        test = site.splits["test"]
        xray, ct = shared_images(test.xray, seen["xray"]), shared_images(test.ct, seen["ct"])
        tests[name] = SplitImages(without(test.xray, xray), without(test.ct, ct))
        left_out[name] = len(xray) + len(ct)
    return tests, left_out
