"""All attacks on one experiment, and the two files that tell what they found."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fedthorax import __version__
from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.common.hospital.site import load_hospital
from fedthorax.common.leakage.canaries import audit
from fedthorax.common.leakage.figures import hospital_guesses, membership
from fedthorax.common.leakage.found import Audit, HospitalGuess, Leakage, Membership
from fedthorax.common.leakage.membership import LIRA_RUNS
from fedthorax.common.leakage.page import leakage_page
from fedthorax.common.leakage.pool import Pool, gather
from fedthorax.common.leakage.references import Answers, Train, head_rounds, kinds_of, margins, references, trainer
from fedthorax.common.leakage.update import updates
from fedthorax.common.model.segments import SegmentLayout, Weights
from fedthorax.common.release.saved_model import load_saved_model
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.projection import set_projection

CANARIES = 200
_TRIED = (
    "membership of patients: loss threshold, RMIA with 4 reference runs, LiRA with 16",
    "one update of the first round, in the clear and masked: label shares, features, alignment with images",
    "which hospital a member is of, from the model's answers",
)
_NOT_TRIED = (
    "Images are not rebuilt from gradients.",
    "What trained encoders remember is not attacked: reference runs train heads on kept features.",
    "Reference runs train in one pool: against a federated model the attacks are weaker than they could be.",
)


def measure(
    experiment: Experiment,
    sites: Sequence[str],
    folder: Path,
    model: Path | None,
    canaries: int,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Leakage:
    """Attack the ``model``, or else models trained here, on the images of ``sites``; write ``leakage.json`` and
    ``leakage.html`` into ``folder``, readable by their owner only.

    What is trained stands in files below; the same call goes on where one was stopped. Raises what ``load_hospital``
    raises, and ValueError where no phase trains heads.
    """
    federation = experiment.federation.model_copy(update={"strategy": "fedavg"})  # one pool: nothing to combine
    weights = experiment.model.weights if model is None else "none"  # else they are in the model
    shape = experiment.model.model_copy(update={"weights": weights})
    experiment = experiment.model_copy(update={"federation": federation, "model": shape})
    head_rounds(experiment)
    network = Network(experiment)  # sets how TensorFlow works, which must be before anything is loaded
    saved = load_saved_model(model) if model else None
    trained, store = network.trained_segments("heads"), FeatureStore(network, experiment.data.cache.folder)
    whole = SegmentLayout(saved.model).read() if saved else {}
    network.layout.write({**whole, **network.layout.read(trained)})  # its encoders, and the heads of the beginning
    if shape.projection == "fixed" and experiment.data.central is not None:
        set_projection(network, store, load_hospital(experiment, CENTRAL).splits["valid"])
    start = network.layout.read(trained)
    network.layout.write(whole)
    pool = gather(experiment, sites, store, progress)
    target = Answers(pool.trained, margins(network, pool)) if saved is not None else None
    found = attacked(network, pool, start, target, folder, canaries, progress, tell)
    write_bytes(folder / "leakage.json", (found.model_dump_json(indent=1).encode(), b"\n"), PRIVATE)
    write_bytes(folder / "leakage.html", (leakage_page(found).encode(),), PRIVATE)
    return found


def attacked(
    network: Network,
    pool: Pool,
    start: Weights,
    target: Answers | None,
    folder: Path,
    canaries: int,
    progress: Callable[[int, int], None],
    tell: Callable[[str], None],
) -> Leakage:
    """``start`` are the heads' first weights, ``target`` the answers of the run's model, None: of the first reference
    run."""
    experiment, rounds = network.experiment, head_rounds(network.experiment)
    train, seed = trainer(network, start, rounds), derive_seed(experiment.seed, "leakage")
    runs = references(network, pool, train, LIRA_RUNS, folder / "references", seed, progress, tell)
    whole, guesses, found = target or runs[0], list[HospitalGuess](), list[Membership]()
    for kind in kinds_of(network):
        labels = experiment.labels.findings if kind == "xray" else experiment.labels.cancer_classes
        groups = pool.groups(kind, labels)
        told = membership(pool, kind, groups, target, runs, derive_seed(seed, "figures", kind))
        found += [told] if told else []
        inside = whole.members & pool.trained & pool.has(kind)
        answers, names = pool.by_patient(kind, whole.margins[kind])[inside], np.array(pool.hospitals)[inside].tolist()
        of_label = {name: of[inside] for name, of in groups.items() if name in labels}
        guesses += hospital_guesses(answers, names, of_label, derive_seed(seed, "hospital", kind))
    audited = audit_run(network, pool, start, train, canaries, seed) if canaries else None
    return Leakage(
        name=experiment.name,
        software_version=__version__,
        target="the model of the run" if target else "models trained here as the experiment says",
        seed=experiment.seed,
        patients=len(pool),
        left_out_images=pool.left_out,
        reference_runs=len(runs),
        rounds=len(rounds),
        dropout=experiment.model.dropout,
        membership=tuple(found),
        updates=updates(network, pool, start, trainer(network, start, rounds[:1]), seed),
        audit=audited,
        hospital_guesses=tuple(guesses),
        tried=(*_TRIED, *(("an audit by canaries",) if audited else ())),
        not_tried=_NOT_TRIED,
    )


def audit_run(network: Network, pool: Pool, start: Weights, train: Train, canaries: int, seed: int) -> Audit:
    """Train once with all who are in and half of the ``canaries``, and guess which: their margins rose most. What the
    experiment promises for one patient more or less is refuted or not."""
    kind = next(kind for kind in kinds_of(network) if len(pool.sets[kind]))
    more = pool.with_canaries(kind, canaries, derive_seed(seed, "canaries"))
    coins = np.random.default_rng(derive_seed(seed, "coins")).random(canaries) < 0.5
    network.layout.write(start)
    before = margins(network, more)[kind]
    train(more, np.concatenate([pool.trained, coins]), derive_seed(seed, "audit"), lambda: None)
    rise = more.by_patient(kind, margins(network, more)[kind] - before)[len(pool) :]
    promise, scores = network.experiment.privacy, np.nanmean(rise, axis=1)
    return audit(scores, coins, promise.delta, promise.epsilon) if promise else audit(scores, coins)
