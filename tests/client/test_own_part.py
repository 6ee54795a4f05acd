"""FedBN at the hospital: its batch normalisation stays there and goes with the round that the server names.

The network is small and real. In a step on pooled features of all images the batch's mean is known, so the hospital's
own statistics can be worked out by hand.
"""

from pathlib import Path

import numpy as np
import pytest

from fedthorax.client.process import SiteProcess
from fedthorax.client.site_store import SiteStore
from fedthorax.common.algorithms import TABLE, algorithm_of
from fedthorax.common.algorithms.algorithm import AtHospital, RoundShape, Update
from fedthorax.common.config import Experiment
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.segments import segment_sha256, weights_digest
from fedthorax.common.training.batch_norm import measure_batch_norm
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network

HEADS = 1  # the phase
BATCH_NORM = "xray.projection"


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    model = {"backbone": "MobileNetV3Small", "image_size": 32, "weights": "none", "batch_norm": "train"}
    widths = {"encoder_units": 8, "feature_units": 4, "fusion_units": [8], "dropout": 0.0}
    phases = [{"rounds": 1, "trainable": "all"}, {"rounds": 3, "trainable": "heads"}]
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]},
            "data": {"hospitals": {"dark": source, "bright": source}, "central": source},
            "model": model | widths,
            "training": {"phases": phases, "batch_size": 8, "threads": 2},
            "federation": {"strategy": "fedbn"},
            "evaluation": {"batch_size": 8, "partners": 1},
        }
    )


def images(experiment: Experiment, name: str) -> SiteImages:
    """Eight X-rays and CT slices of noise; the scanner of ``bright`` adds to every pixel."""
    random = np.random.default_rng(1)
    lift = 150 if name == "bright" else 0

    def some(targets: np.ndarray, kind: str) -> ImageSet:
        pixels = (random.integers(0, 100, (len(targets), 32, 32, 3)) + lift).astype(np.uint8)
        names = tuple(f"{name}-{kind}-{row}" for row in range(len(targets)))
        return ImageSet(pixels, targets, tuple(map(Path, names)), names, names)

    def split(count: int) -> SplitImages:
        findings = np.arange(count)[:, None].astype(np.float32) % 2
        return SplitImages(some(findings, "xray"), some(np.arange(count, dtype=np.int32) % 2, "ct"))

    return SiteImages(name, {"train": split(8), "valid": split(4), "test": split(4)}, ())


class Hospital:
    def __init__(self, experiment: Experiment, network: tuple[Network, FeatureStore], folder: Path | None) -> None:
        self.process = SiteProcess(EventLog(None), own=SiteStore(folder))
        self.worker, self.experiment, self.network = self.process.worker, experiment, network[0]
        self.worker._load_images = lambda of, name, progress: images(of, name)
        self.worker._build_network = lambda of, modalities: network

    def train(self, site: str, number: int, own_round: int, weights: dict[str, np.ndarray], beside=None) -> TrainReply:
        task = TrainTask(
            site=site, round=number, experiment=self.experiment.model_dump_json(), weights=weights,
            layout=self.network.layout.digest, phase=HEADS, learning_rate=1e-3, run="r1",
            model_sha256=weights_digest(weights), own_round=own_round,
            sha256={name: segment_sha256(v) for name, v in weights.items()}, beside=beside or {},
        )  # fmt: skip
        return self.worker.run(task)


@pytest.fixture(scope="module")
def network(experiment: Experiment) -> tuple[Network, FeatureStore]:
    network = Network(experiment)
    return network, FeatureStore(network, None)


@pytest.fixture(scope="module")
def start(network: tuple[Network, FeatureStore]) -> dict[str, np.ndarray]:
    """A network at random whose normalisation has seen images: without, it gives features near 0."""
    measure_batch_norm(*network, images(network[0].experiment, "dark").splits["train"])
    return network[0].layout.read()


@pytest.fixture
def hospital(experiment, network, tmp_path: Path) -> Hospital:
    return Hospital(experiment, network, tmp_path)


def moving_mean(network: Network) -> np.ndarray:
    return np.asarray(network.model.get_layer("xray_batch_norm").moving_mean)


def mean_of_images(network: Network, store: FeatureStore, start: dict[str, np.ndarray], site: str) -> np.ndarray:
    network.layout.write(start)
    xrays = images(network.experiment, site).splits["train"].xray
    return np.asarray(network.model.get_layer("xray_dense")(store.pooled("xray", xrays))).mean(axis=0)


def test_what_leaves_holds_what_came_where_batch_normalisation_stands(hospital, network, start):
    reply = hospital.train("dark", 2, 0, start)
    assert reply.error is None
    layout = network[0].layout
    for segment, values in reply.weights.items():
        own = np.zeros(values.size, bool)
        for where in layout.batch_norm(segment):
            own[where] = True
        assert np.array_equal(values[own], start[segment][own])
        assert own.all() or not np.array_equal(values[~own], start[segment][~own])
    assert sum(w.stop - w.start for w in layout.batch_norm(BATCH_NORM)) == 4 * 8


@pytest.mark.parametrize("site", ["dark", "bright"])
def test_a_hospitals_statistics_are_those_of_its_own_images_and_go_on_from_round_to_round(
    hospital, network, start, site
):
    """With momentum 0.9 a step goes a tenth of the way to the batch's mean, two steps 0.19 for like weights."""
    other = "bright" if site == "dark" else "dark"
    expected = mean_of_images(*network, start, site)
    began = moving_mean(network[0])
    hospital.train(site, 2, 0, start)
    assert np.allclose(moving_mean(network[0]), 0.9 * began + 0.1 * expected, atol=1e-5)
    hospital.train(other, 2, 0, start)  # one process serves both in a simulation
    hospital.train(site, 3, 2, start)
    assert np.allclose(moving_mean(network[0]), 0.81 * began + 0.19 * expected, atol=1e-5)
    assert not np.allclose(expected, mean_of_images(*network, start, other), atol=1e-2)


def test_a_round_that_is_done_again_gives_the_same_bits_in_another_process(experiment, network, start, tmp_path):
    first = Hospital(experiment, network, tmp_path)
    first.train("dark", 2, 0, start)
    once = first.train("dark", 3, 2, start)
    first.train("dark", 4, 3, start)
    again = Hospital(experiment, network, tmp_path).train("dark", 3, 2, start)
    assert weights_digest(again.weights) == weights_digest(once.weights)
    assert weights_digest(first.train("dark", 3, 0, start).weights) != weights_digest(once.weights)


def test_a_part_that_is_lost_is_told_in_words(hospital, start):
    reply = hospital.train("dark", 3, 2, start)
    assert reply.error is not None
    assert "no longer holds its own part of the model after round 2; bring its folder back" in reply.error


def test_without_a_folder_the_strategy_is_refused(experiment, network, start):
    reply = Hospital(experiment, network, None).train("dark", 2, 0, start)
    assert reply.error is not None
    assert "there is no folder here in which" in reply.error


def test_other_strategies_keep_nothing(experiment, network, start, tmp_path):
    federation = experiment.federation.model_copy(update={"strategy": "fedavg"})
    plain = Hospital(experiment.model_copy(update={"federation": federation}), network, tmp_path)
    reply = plain.train("dark", 2, 0, start)
    where = network[0].layout.batch_norm(BATCH_NORM)[0]
    assert not np.array_equal(reply.weights[BATCH_NORM][where], start[BATCH_NORM][where])
    assert list(tmp_path.iterdir()) == []
    assert reply.error is None


def test_with_scaffold_a_hospital_keeps_its_control_variate_and_tells_how_it_has_changed(experiment, start, tmp_path):
    federation = experiment.federation.model_copy(update={"strategy": "scaffold"})
    scaffold = experiment.model_copy(update={"federation": federation})
    made = Network(scaffold)
    made.layout.write(start)
    hospital = Hospital(scaffold, (made, FeatureStore(made, None)), tmp_path)
    first = hospital.train("dark", 2, 0, start)
    assert first.error is None
    assert set(first.beside) == set(first.weights)
    common = {name: np.full_like(values, 1e-3) for name, values in first.beside.items()}
    second = hospital.train("dark", 3, 2, start, common)
    (folder,) = tmp_path.iterdir()
    with np.load(folder / "round-0002.npz") as before, np.load(folder / "round-0003.npz") as after:
        for name in before:
            assert np.array_equal(before[name], first.beside[name])
            assert np.array_equal(after[name] - before[name], second.beside[name])
    again = hospital.train("dark", 3, 2, start, common)
    for ours, theirs in ((again.weights, second.weights), (again.beside, second.beside)):
        assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    without = hospital.train("dark", 3, 2, start)
    assert weights_digest(without.weights) != weights_digest(second.weights)
    assert sorted(path.name for path in folder.iterdir()) == ["round-0002.npz", "round-0003.npz"]


WITH_A_HALF = [name for name in TABLE if algorithm_of(name).hospital != AtHospital()]


@pytest.mark.parametrize("name", WITH_A_HALF)
def test_an_algorithm_sends_and_keeps_what_it_says_and_a_task_that_comes_twice_gives_the_same_bits(
    experiment, start, tmp_path, name
):
    federation = experiment.federation.model_copy(update={"strategy": name})
    chosen, algorithm = experiment.model_copy(update={"federation": federation}), algorithm_of(name)
    made = Network(chosen)
    made.layout.write(start)
    hospital = Hospital(chosen, (made, FeatureStore(made, None)), tmp_path)
    layout, segments, half = made.layout, made.trained_segments("heads"), algorithm.hospital
    wheres = [{segment: of(segment) for segment in segments} for of in (layout.statistics, layout.batch_norm)]
    shape = RoundShape({segment: layout.sizes[segment] for segment in segments}, None, *wheres, all_pairs=16)
    weights, state = start, {}
    for number, own_round in ((2, 0), (3, 2)):
        aggregate, told = algorithm.aggregate(federation.strategy_settings, shape), algorithm.tell(state)
        for site in ("dark", "bright"):
            reply = hospital.train(site, number, own_round, weights, told)
            assert reply.error is None
            assert set(reply.weights) == set(segments)
            assert set(reply.beside) == (set(segments) if half.sends else set())
            loss = reply.told.valid.loss
            aggregate.add(Update(site, reply.weights, reply.num_pairs, {}, loss, reply.beside))
        again = hospital.train(site, number, own_round, weights, told)
        assert weights_digest(again.weights) == weights_digest(reply.weights)
        assert weights_digest(again.beside) == weights_digest(reply.beside)
        found, state = aggregate.result(weights, state)
        assert set(found) == set(segments)
        assert all(np.isfinite(values).all() for values in found.values())
        assert weights_digest(found) != weights_digest({segment: weights[segment] for segment in segments})
        weights = {**weights, **found}
    kept = {path.name for path in tmp_path.rglob("round-*.npz")}
    assert kept == ({"round-0002.npz", "round-0003.npz"} if half.keeps else set())
