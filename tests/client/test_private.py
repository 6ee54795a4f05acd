"""Private steps at a hospital: what they cost, what leaves, and that the same question has the same answer."""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedthorax.client.private import Private
from fedthorax.client.process import SiteProcess
from fedthorax.client.site_store import SiteStore
from fedthorax.common.config import Experiment
from fedthorax.common.config.training import ScheduleConfig
from fedthorax.common.disclosure.sentences import error_outside
from fedthorax.common.ground.audit import AuditLog, read_lines
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.messages.tasks import EvaluateTask, TrainTask
from fedthorax.common.model.segments import segment_sha256, weights_digest
from fedthorax.common.privacy.accountant import epsilon
from fedthorax.common.privacy.budget import Limit
from fedthorax.common.privacy.plan import plan_of
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.network import Network
from fedthorax.common.training.private_fit import require_exact
from fedthorax.common.training.private_step import PrivateHeads

from ..private_rounds import rounds_in_one_place

PRIVACY = {"mechanism": "local", "epsilon": 8.0, "delta": 1e-3, "sampling_rate": 0.5, "steps": 4, "patients": 8}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    source = {"xray": "xray", "ct": "ct"}
    model = {"backbone": "MobileNetV3Small", "image_size": 32, "weights": "received", "absent": "token"}
    return Experiment.model_validate(
        {
            "name": "small",
            "labels": {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]},
            "data": {"hospitals": {"north": source, "south": source}, "central": source},
            "model": {**model, "projection": "fixed", "feature_units": 3, "fusion_units": []},
            "training": {
                "phases": [{"rounds": 2, "trainable": "heads", "learning_rate": 1.0}],
                "threads": 2,
            },
            "federation": {"unusual_updates": "off"},
            "privacy": PRIVACY,
            "evaluation": {"batch_size": 8, "partners": 1},
        }
    )


@pytest.fixture(scope="module")
def network(experiment: Experiment) -> tuple[Network, FeatureStore]:
    network = Network(experiment)
    return network, FeatureStore(network, None)


def images(name: str) -> SiteImages:
    random = np.random.default_rng(len(name))

    def some(targets: np.ndarray, kind: str) -> ImageSet:
        pixels = random.integers(0, 255, (len(targets), 32, 32, 3)).astype(np.uint8)
        names = tuple(f"{name}-{kind}-{row}" for row in range(len(targets)))
        patients = tuple(f"{name}-{row // 2}" for row in range(len(targets)))
        return ImageSet(pixels, targets, tuple(map(Path, names)), patients, names)

    def split(count: int) -> SplitImages:
        findings = np.arange(count)[:, None].astype(np.float32) % 2
        return SplitImages(some(findings, "xray"), some(np.arange(count, dtype=np.int32) % 2, "ct"))

    return SiteImages(name, {"train": split(8), "valid": split(4), "test": split(4)}, ())


class Hospital:
    def __init__(self, experiment, network, state: Path | None, limit: Limit | None = None, held=images) -> None:
        own = SiteStore(None if state is None else state / "own")
        private = Private(own, state, limit)
        self.worker = SiteProcess(EventLog(None), own=own, private=private).worker
        self.worker._load_images = lambda of, name, progress: held(name)
        self.worker._build_network = lambda of, modalities: network
        self.experiment, self.network = experiment, network[0]

    def train(self, number: int, weights: dict[str, np.ndarray], site: str = "north", run: str = "r1", rate=1.0):
        return self.worker.run(
            TrainTask(
                site=site, round=number, experiment=self.experiment.model_dump_json(), weights=weights,
                layout=self.network.layout.digest, learning_rate=rate, run=run, model_sha256=weights_digest(weights),
                sha256={name: segment_sha256(values) for name, values in weights.items()},
            )
        )  # fmt: skip


@pytest.fixture
def start(network):
    if not hasattr(network[0], "starting"):
        network[0].starting = network[0].layout.read()
    network[0].layout.write(network[0].starting)
    return network[0].starting


def lines(state: Path) -> list[dict]:
    return [line["facts"] for line in read_lines(state / "privacy.jsonl")]


def test_nothing_of_the_patients_leaves_but_the_noisy_step(experiment, network, start, tmp_path):
    reply = Hospital(experiment, network, tmp_path).train(1, start)
    assert reply.error is None
    told = reply.told.train
    assert (told.loss, told.disease_loss, told.cancer_loss, told.pairs, told.steps) == (None, None, None, 1, 2)
    assert reply.told.counts is None
    assert told.seconds == round(told.seconds)
    assert reply.told.private_steps == 2
    assert set(reply.weights) == {"fusion", "disease", "cancer"}
    for name in ("disease", "cancer"):
        assert not np.array_equal(reply.weights[name], start[name])


def test_the_same_question_has_the_same_answer_and_costs_nothing(experiment, network, start, tmp_path):
    first = Hospital(experiment, network, tmp_path).train(1, start)
    again = Hospital(experiment, network, tmp_path).train(1, start)  # a new process, after a crash
    assert {k: v.tobytes() for k, v in first.weights.items()} == {k: v.tobytes() for k, v in again.weights.items()}
    assert again.told.private_steps == 2
    assert len(lines(tmp_path)) == 1


def test_other_data_another_round_model_or_run_is_answered_with_new_noise_and_paid_for(
    experiment, network, start, tmp_path
):
    def less(name: str) -> SiteImages:
        held = images(name)
        split = held.splits["train"]
        changed = replace(split, xray=replace(split.xray, targets=np.ones_like(split.xray.targets)))
        return replace(held, splits={**held.splits, "train": changed})

    # Who is in a step is drawn by the secret. Of four patients who are alike the same number could be drawn from both
    # data, whose sums and so whose noise were then the same: here the secret is known, and the labels differ in number.
    key = tmp_path / "privacy.key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    hospital = Hospital(experiment, network, tmp_path)
    moved = {**start, "disease": start["disease"] + np.float32(0.5)}
    replies = [
        hospital.train(1, start),
        hospital.train(2, start),
        hospital.train(1, moved),
        hospital.train(1, start, run="r2"),
        Hospital(experiment, network, tmp_path, held=less).train(1, start),
    ]
    steps = [reply.weights["cancer"] - start["cancer"] for reply in replies]
    assert len({step.tobytes() for step in steps}) == 5
    assert [line["steps"] for line in lines(tmp_path)] == [2] * 5
    assert [reply.told.private_steps for reply in replies] == [2, 4, 6, 2, 8]


def test_the_noise_comes_from_the_hospitals_own_secret(experiment, network, start, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = Hospital(experiment, network, tmp_path / "one").train(1, start)
    other = Hospital(experiment, network, tmp_path / "other").train(1, start)
    assert one.weights["cancer"].tobytes() != other.weights["cancer"].tobytes()
    key = tmp_path / "one" / "privacy.key"
    assert (len(key.read_bytes()), key.stat().st_mode & 0o077) == (32, 0)
    assert key.read_bytes() != (tmp_path / "other" / "privacy.key").read_bytes()


def test_a_step_beyond_the_hospitals_limit_is_refused_before_anything_leaves(experiment, network, start, tmp_path):
    plan = plan_of(experiment)
    most = epsilon(((0.5, plan.noise, 2),), 1e-3)
    hospital = Hospital(experiment, network, tmp_path, Limit(epsilon=most, delta=1e-3))
    assert hospital.train(1, start).error is None
    refused = hospital.train(2, start)
    assert "2 more steps would exceed the hospital's limit (limits.privacy)" in refused.error
    assert not refused.weights
    assert len(lines(tmp_path)) == 1
    assert hospital.train(1, start).error is None  # what was paid for can be said again


def test_what_cannot_be_written_down_does_not_leave(experiment, network, start, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AuditLog, "append", full)
    reply = Hospital(experiment, network, tmp_path).train(1, start)
    assert "No space left" in reply.error
    assert not reply.weights


@pytest.mark.parametrize("rate", [1e-9, 1e9])
def test_steps_that_could_not_be_summed_exactly_are_refused_before_they_cost(
    experiment, network, start, tmp_path, rate
):
    reply = Hospital(experiment, network, tmp_path).train(1, start, rate=rate)
    assert "too short or long to be exact" in reply.error
    assert error_outside(reply.error) == reply.error
    assert not (tmp_path / "privacy.jsonl").exists()


@pytest.mark.parametrize(
    "schedule",
    [
        {"kind": "step", "step_rounds": 1, "step_factor": 1e-9},
        {"plateau_patience": 1, "plateau_factor": 1e-9},
        {"kind": "cosine", "final_fraction": 1e-9},
    ],
)
def test_a_run_with_a_round_of_such_steps_does_not_begin(experiment, network, schedule):
    """The rounds before it would have spent the patients' privacy, and the experiment of a begun run is fixed."""
    require_exact(experiment, network[0])
    training = experiment.training.model_copy(update={"schedule": ScheduleConfig(**schedule)})
    with pytest.raises(ValueError, match=r"^round 2: .* learning rate 1e-09 are too short .*; from ") as refused:
        require_exact(experiment.model_copy(update={"training": training}), network[0])
    low, high = (float(word) for word in str(refused.value).split("from ")[1].split(" they")[0].split(" to "))
    for rate, exact in ((1.01 * low, True), (0.99 * low, False), (0.99 * high, True), (1.01 * high, False)):
        phase = experiment.training.phases[0].model_copy(update={"learning_rate": rate})
        same = experiment.training.model_copy(update={"phases": (phase,)})
        with contextlib.nullcontext() if exact else pytest.raises(ValueError, match=r"^round 1: "):
            require_exact(experiment.model_copy(update={"training": same}), network[0])


def test_scores_of_training_images_are_refused(experiment, network, start, tmp_path):
    hospital = Hospital(experiment, network, tmp_path)
    task = EvaluateTask(
        site="north", round=1, experiment=experiment.model_dump_json(), weights=start, splits=("train",),
        layout=network[0].layout.digest, run="r1", model_sha256=weights_digest(start),
        sha256={name: segment_sha256(values) for name, values in start.items()},
    )  # fmt: skip
    assert "private for training patients" in hospital.worker.run(task).error


def test_a_simulated_hospital_steps_as_rounds_in_one_place_do(experiment, network, start, tmp_path):
    heads = PrivateHeads(network[0], experiment.privacy.clip)
    patients = {"north": heads.patients(network[1], images("north").splits["train"])}
    trained = {name: start[name] for name in network[0].trained_segments("heads")}
    (expected,) = rounds_in_one_place(experiment, heads, trained, patients, [1.0])
    hospital = Hospital(experiment, network, None)
    hospital.worker._private = Private(SiteStore(tmp_path))
    reply = hospital.train(1, start)
    assert {k: v.tobytes() for k, v in reply.weights.items()} == {k: v.tobytes() for k, v in expected.items()}
