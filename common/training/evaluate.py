"""Scores of a saved model on the images of one hospital, or of the server."""

from collections.abc import Callable
from pathlib import Path

from fedthorax.common.config import Experiment
from fedthorax.common.data.records import SPLITS, Split
from fedthorax.common.data.site import load_site
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.common.seeds import derive_seed
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.runtime import prepare_tensorflow
from fedthorax.common.training.saved_model import load_saved_model
from fedthorax.common.training.scoring import Scores, score

CENTRAL = "central"


def evaluate_model(
    model_path: Path,
    experiment: Experiment,
    site: str,
    split: str,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Scores of ``model_path`` on ``split`` (train, valid, test) of the hospital ``site``, or of ``central``.

    Raises ValueError when the model predicts other labels than the experiment names, or the split has no pair.
    """
    data = experiment.data
    if site != CENTRAL and site not in data.hospitals:
        raise ValueError(f"no site {site!r}; expected {CENTRAL} or one of {', '.join(data.hospitals)}")
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}; expected one of {', '.join(SPLITS)}")
    name: Split = split
    prepare_tensorflow(experiment.training.threads)  # before the model, which starts TensorFlow
    saved = load_saved_model(model_path)
    for kind, mine in (("findings", experiment.labels.findings), ("cancer_classes", experiment.labels.cancer_classes)):
        if list(mine) != saved.facts[kind]:
            raise ValueError(f"{saved.path} predicts the {kind} {saved.facts[kind]}, the experiment has {list(mine)}")
    # The stored weights replace the starting ones, so no pretrained file is needed.
    random_start = experiment.model_copy(update={"model": experiment.model.model_copy(update={"weights": "none"})})
    network = Network(random_start)
    network.layout.write(SegmentLayout(saved.model).read())
    source, fractions = (
        (data.central_sources(), data.central_splits) if site == CENTRAL else (data.sources_of(site), data.splits)
    )
    images = load_site(
        site, source, experiment.labels, data, fractions, experiment.model.image_size, experiment.seed, progress
    ).splits[name]
    lacking = (max if network.tokens else min)(len(images.xray), len(images.ct)) == 0
    if lacking:
        raise ValueError(
            f"{site} has {len(images.xray)} X-rays and {len(images.ct)} CT slices in its {split} split; both are needed"
        )
    store = FeatureStore(network, data.cache.folder)
    return score(network, store, images, derive_seed(experiment.seed, "evaluation pairs", site, split))
