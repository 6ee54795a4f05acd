"""Scores of a saved model on the images of one hospital, or of the server."""

from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL, CtSource, XraySource
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.images import ImageSet, SplitImages
from fedthorax.common.hospital.overlap import unseen, without
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.records.records import Split
from fedthorax.common.release.saved_model import SavedModel, load_saved_model
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.final_scores import final_scores, with_duplicates
from fedthorax.common.training.network import Network
from fedthorax.common.training.runtime import prepare_tensorflow
from fedthorax.common.training.scoring import Scores, in_use, predict

Seen = frozenset[tuple[str, str]]  # (modality, file below the source folder, as a run's left_out names it)


@dataclass(frozen=True)
class Evaluation:
    """``scores`` are without the test images that also stand where the model was trained or selected; there are
    ``left_out`` of these, and ``with_duplicates`` counts them too, None where there is none."""

    scores: Scores
    with_duplicates: Scores | None = None
    left_out: int = 0


def seen_in_run(model_path: Path) -> Seen:
    """The central test images that the run of this model left out, because hospitals hold them too; none where no run
    is known, that is where the model does not lie in ``model/`` of a run folder."""
    folder = model_path.absolute().parent.parent
    if model_path.absolute().parent.name != "model" or not (folder / "metrics.json").is_file():
        return frozenset()
    return frozenset((entry.modality, entry.file) for entry in RunFolder.load(folder).read_run().central.left_out)


def evaluate_model(model_path: Path, experiment: Experiment, site: str, split: Split) -> Evaluation:
    """Scores of ``model_path`` on ``split`` (train, valid, test) of the hospital ``site``, or of ``central``.

    Of calibrated probabilities at the model's own thresholds, with intervals, as ``test`` of metrics.json. Test images
    whose pixels stand in train or valid of the same site are scored apart, and so are central ones that the model's run
    found at hospitals. Raises ValueError when the model predicts other labels than the experiment names, or the split
    has no pair.
    """
    data = experiment.data
    prepare_tensorflow(experiment.training.threads)  # before the model, which starts TensorFlow
    saved = load_saved_model(model_path)
    for kind, mine in (("findings", experiment.labels.findings), ("cancer_classes", experiment.labels.cancer_classes)):
        if list(mine) != saved.facts[kind]:
            raise ValueError(f"{saved.path} predicts the {kind} {saved.facts[kind]}, the experiment has {list(mine)}")
    network = Network(_as_trained(experiment, saved))
    network.layout.write(SegmentLayout(saved.model).read())
    source, _ = data.folders_of(site)
    loaded = load_hospital(experiment, site)
    whole = loaded.splits[split]
    images = whole
    if split == "test":
        images = unseen(loaded.splits)
        if site == CENTRAL and (seen := seen_in_run(saved.path)):
            images = SplitImages(
                _without(images.xray, "xray", source.xray, seen),
                _without(images.ct, "ct", source.ct, seen),
            )
    if (max if network.tokens else min)(len(images.xray), len(images.ct)) == 0:
        new = "new " if len(images.xray) + len(images.ct) < len(whole.xray) + len(whole.ct) else ""
        raise ValueError(
            f"{site} has {len(images.xray)} {new}X-rays and {len(images.ct)} {new}CT slices in its {split} split; "
            "both are needed"
        )
    store = FeatureStore(network, data.cache.folder)
    seed = derive_seed(experiment.seed, "evaluation pairs", site, split)
    raw = predict(network, store, images, seed, repeats=in_use(network.experiment))
    scores = final_scores(network, images, *raw, saved.points)
    left_out = len(whole.xray) + len(whole.ct) - len(images.xray) - len(images.ct)
    more = with_duplicates(network, store, seed, saved.points, scores, images, whole)
    return Evaluation(scores, more, left_out)


def _as_trained(experiment: Experiment, saved: SavedModel) -> Experiment:
    """With the views that the model's calibration and thresholds are of, and without pretrained weights, in whose place
    the stored ones come."""
    training = experiment.training.model_copy(update={"augmentation": saved.augmentation})
    return experiment.model_copy(
        update={
            "model": experiment.model.model_copy(update={"weights": "none"}),
            "training": training,
            "evaluation": experiment.evaluation.model_copy(update={"views": saved.views}),
        }
    )


def _without(images: ImageSet, modality: str, source: XraySource | CtSource | None, seen: Seen) -> ImageSet:
    if source is None:
        return images
    rows = [row for row in range(len(images)) if (modality, images.ref(row).below([source.folder])) in seen]
    return without(images, rows)
