"""Experiment files: what is read, what is refused and in which words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.config.load import absolute, load_experiment, parse_experiment, to_yaml

WriteFile = Callable[..., Path]


def test_a_small_file_gets_all_defaults(experiment_file: WriteFile) -> None:
    experiment = load_experiment(experiment_file())
    assert experiment.name == "tiny"
    assert experiment.data.hospitals["north"].xray.folder == Path("data/north/xray")
    assert experiment.model.fusion_units == (1024, 512)
    assert experiment.run_folder == Path("runs/tiny")


def test_a_home_folder_is_written_out(experiment_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    experiment = load_experiment(experiment_file(), ["data.central.ct=~/ct"])
    assert experiment.data.central.ct.folder == Path("/home/someone/ct")


def test_yaml_json_and_back_give_an_equal_experiment(experiment_file: WriteFile) -> None:
    experiment = load_experiment(
        experiment_file(),
        [
            "training.loss.positive_weights={Effusion: 2, Mass: 1e1}",
            "data.cache.folder=/scratch",
            "labels.cancer_classes=['1e5', 'no', '0x1', '1:30', 'größer']",
        ],
    )
    assert load_experiment(experiment_file(to_yaml(experiment))) == experiment
    assert parse_experiment(experiment.model_dump_json()) == experiment


def test_absolute_fixes_every_path_and_nothing_else(experiment_file: WriteFile) -> None:
    experiment = load_experiment(
        experiment_file(), ["model.weights=weights/b0.h5", "data.cache.folder=cache", "data.central.xray.labels=l.csv"]
    )
    fixed = absolute(experiment, Path("/base"))
    assert fixed.data.hospitals["st.mary"].ct.folder == Path("/base/data/mary/ct")
    assert fixed.data.central.xray.labels == Path("/base/l.csv")
    assert fixed.data.central.xray.folder == Path("/base/data/central/xray")
    assert fixed.data.cache.folder == Path("/base/cache")
    assert fixed.output.folder == Path("/base/runs")
    assert fixed.model.weights == "/base/weights/b0.h5"
    assert fixed.training == experiment.training
    assert absolute(fixed, Path("/elsewhere")) == fixed


@pytest.mark.parametrize("name", ["imagenet", "none"])
def test_a_checkpoint_by_name_is_no_path(experiment_file: WriteFile, name: str) -> None:
    experiment = load_experiment(
        experiment_file(),
        [f"model.weights={name}", "model.batch_norm=train", "training.phases.0.trainable=all"],
        base=Path("/base"),
    )
    assert experiment.model.weights == name
    assert experiment.output.folder == Path("/base/runs")


REFUSED = [
    (["training.learning_rate=-1"], "--set: training.learning_rate: expected a number above 0, got -1"),
    (["training.learning_rate=.nan"], "--set: training.learning_rate: expected a finite number, got nan"),
    (["training.learning_rate=fast"], "--set: training.learning_rate: expected a number, got 'fast'"),
    (["training.batch_size=1.5"], "--set: training.batch_size: expected a whole number, got 1.5"),
    (["training.batch_size=true"], "--set: training.batch_size: expected a whole number, got true"),
    (["training.batch_size="], "--set: training.batch_size: expected a whole number, got nothing (null)"),
    (["training.augmentation.enabled=yes"], "--set: training.augmentation.enabled: expected true or false, got 'yes'"),
    (["model.image_size=16"], "--set: model.image_size: expected a number of at least 32, got 16"),
    (["model.dropout=1"], "--set: model.dropout: expected a number below 1, got 1"),
    (["evaluation.threshold=0"], "--set: evaluation.threshold: expected a number above 0, got 0"),
    (["data.splits.train=1.5"], "--set: data.splits.train: expected a number of at most 1, got 1.5"),
    (["data.splits.train=0.5"], "tiny.yaml: data.splits: train + valid + test must be 1, but they sum to 0.8"),
    (["data.aspect=crop"], "--set: data.aspect: expected pad or squash, got 'crop'"),
    (
        ["evaluation.selection_metric=auc"],
        "--set: evaluation.selection_metric: expected mean_roc_auc, disease_roc_auc, cancer_roc_auc, loss or last, "
        "got 'auc'",
    ),
    (["training.phases=[]"], "--set: training.phases: expected at least 1 entry, got 0"),
    (["training.phases=heads"], "--set: training.phases: expected a list, got 'heads'"),
    (
        ["training.phases.0={rounds: 2}"],
        "--set: training.phases.0.trainable: missing, but required: heads: everything after the backbones, "
        "on pooled features that are computed once; all: everything; parts: what parts names",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts}]"],
        "--set: training.phases.0: trainable is parts, but parts names nothing",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: heads, part_patience: 2}]"],
        "--set: training.phases.0: part_patience stops one part before the others; name them: trainable: parts",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {heads: {}, fusion: {}}}]"],
        "--set: training.phases.0: parts: heads holds fusion too; name either",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {heads: {}, ct: {top: 0}}}]"],
        "tiny.yaml: training.phases.0.parts.ct trains nothing: its top is 0, and its projection is one of the heads; "
        "leave it out",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {ct: {top: 0}}}]", "model.projection=fixed"],
        "tiny.yaml: training.phases.0.parts.ct trains nothing: its top is 0, and model.projection is fixed; "
        "leave it out",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {xray: {}, fusion: {}}}]", "model.fusion_units=[]"],
        "tiny.yaml: training.phases.0.parts.fusion trains nothing: model.fusion_units is empty; leave it out",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {cancer: {}}}]", "training.loss.cancer_weight=0"],
        "tiny.yaml: training.phases.0.parts.cancer trains nothing: training.loss.cancer_weight is 0; leave it out",
    ),
    (
        [
            "training.phases=[{rounds: 1, trainable: parts, parts: {xray: {}}}]",
            "training.loss.disease_weight=0",
            "model.fusion_units=[]",
        ],
        "tiny.yaml: training.phases.0.parts.xray trains nothing: training.loss.disease_weight is 0; leave it out",
    ),
    (
        ["training.phases=[{rounds: 1, trainable: parts, parts: {fusion: {top: 2}}}]"],
        "--set: training.phases.0: parts.fusion.top: only the encoders xray and ct have blocks",
    ),
    (["model.fusion_units=[512, wide]"], "--set: model.fusion_units.1: expected a whole number, got 'wide'"),
    (["labels.findings=[Mass, Mass]"], "--set: labels.findings: names must be distinct, but these are repeated: Mass"),
    (["labels.findings=[1, Mass]"], "--set: labels.findings.0: expected text, got 1"),
    (["output=runs"], "--set: output: expected a mapping of keys, got 'runs'"),
    (["output.folder=[a]"], "--set: output.folder: expected a path, got a list"),
    (["name=../x"], "--set: name: expected letters, digits, dots, hyphens and underscores, "
        "the first a letter or digit, got '../x'"),
    (["data.hospitals.east.xray=x"],
     "tiny.yaml: data.hospitals.east has no CT slices, and model.absent is refused; set "
     "model.absent to token, so that the network learns what stands for them, or give the folder"),
    (["data.hospitals.east={}"],
     "--set: data.hospitals.east: expected a folder xray, a folder ct, or both; found neither"),
    (["model.absent=token", "data.central={xray: x}"],
     "tiny.yaml: data.central has no CT slices, but the server scores both heads: hospital north may have such images; "
     "give the folder, or leave it out at every hospital too"),
    (["data.central={xray: x}", "data.hospitals={a: {xray: y}}"],
     "tiny.yaml: data.hospitals.a has no CT slices, and model.absent is refused; set "
     "model.absent to token, so that the network learns what stands for them, or give the folder"),
    (["model.absent=token", "data.central={ct: x}", "data.hospitals={a: null}"],
     "tiny.yaml: data.central has no X-rays, but the server scores both heads: hospital a may have such images; "
     "give the folder, or leave it out at every hospital too"),
    (["model.absent=token", "data.central={xray: x}", "data.hospitals={a: {xray: y}}",
      "evaluation.selection_metric=cancer_roc_auc"],
     "tiny.yaml: evaluation.selection_metric is cancer_roc_auc, but data.central has no CT slices: no round could be "
     "selected by it"),
    (["evaluation.selection_metric=last", "federation.patience=3"],
     "tiny.yaml: federation.patience is 3, but with evaluation.selection_metric last no round is better than another; "
     "leave it out, or choose a figure"),
    (["evaluation.selection_metric=last", "training.schedule.plateau_patience=2"],
     "tiny.yaml: training.schedule.plateau_patience is 2, but with evaluation.selection_metric last no round is better "
     "than another; leave it out, or choose a figure"),
    (["federation.strategy=krum"],
     "tiny.yaml: federation.strategy krum with malicious_sites 1 needs the updates of 5 hospitals in every round, but "
     "a round may close with 2 (min_sites)"),
    (["federation.strategy=qfedavg", "model.absent=token"],
     "tiny.yaml: federation.strategy is qfedavg, which compares whole updates, but with model.absent: token they may "
     "hold different branches; choose another strategy"),
    (["federation.strategy=scaffold", "federation.codec=int8"],
     "tiny.yaml: federation.strategy is scaffold, whose control variates travel exactly, but federation.codec is int8; "
     "set it to float32, or choose another strategy"),
    *(
        ([*changes, "federation.secure_aggregation=true"],
         f"tiny.yaml: federation.secure_aggregation is true, but {words}")
        for changes, words in (
            ([], "data.hospitals has 2, and a sum is of federation.smallest_sum 3 or more; with two each can work out "
             "the other's update: set it to 2 where both have agreed to that"),
            (["federation.codec=int8"],
             "federation.codec is int8; masked words cannot be packed: set it to float32"),
            (["federation.strategy=median"],
             "federation.strategy is median, which compares single values; choose another strategy"),
            (["federation.strategy=scaffold"],
             "federation.strategy is scaffold, which needs each hospital's share of all pairs; choose another "
             "strategy"),
            (["model.absent=token", "federation.weigh_by=pairs"],
             "federation.weigh_by is pairs, by which hospitals that lack a modality vote for what there was; set it to "
             "branches"),
            (["federation.smallest_sum=2", "federation.min_sites=1"],
             "federation.min_sites is 1, below smallest_sum 2"),
        )
    ),
    (["training.modality_dropout=0.1"],
     "tiny.yaml: training.modality_dropout leaves images out; set model.absent to token to stand for them"),
    (["evaluation.views=5", "training.augmentation.enabled=false"],
     "tiny.yaml: evaluation.views is 5, but training.augmentation.enabled is false: a network that has only seen "
     "images as they are is scored on these; set views to 1, or enable augmentation"),
    (["data.hospitals={1: {xray: a, ct: b}}"],
     "--set: data.hospitals.1: expected text as a key, got 1; put it in quotes"),
    (["model={widht: 3}"],
     "--set: model.widht: unknown key; expected one of backbone, image_size, weights, encoder_units, feature_units, "
     "fusion_units, projection, head_norm, dropout, batch_norm, absent, batch_norm_momentum"),
    (["federation={min_site: 3}"], "--set: federation.min_site: unknown key; did you mean `min_sites`?"),
    (["federation.min_sites=3"], "tiny.yaml: federation.min_sites is 3, but data.hospitals has only 2"),
    (
        ["training.loss.positive_weights.Nodule=2"],
        "tiny.yaml: training.loss.positive_weights names Nodule, which labels.findings does not have",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), REFUSED, ids=[sets[0] for sets, _ in REFUSED])
def test_a_wrong_value_is_refused_with_path_expectation_and_what_came(
    experiment_file: WriteFile, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole message is compared
        load_experiment(experiment_file(), overrides)
    assert str(refused.value) == message


def test_all_problems_of_a_file_are_told_at_once_and_those_of_set_apart(experiment_file: WriteFile) -> None:
    text = """\
name: tiny
lables: {findings: [Mass], cancer_classes: [a, b]}
data:
  hospitals: {north: {xray: x, ct: c}}
  central: {xray: x, ct: c}
  batch_size: 3
training: {phases: [{rounds: 0, trainable: head}], learning_rate: 3e-4}
"""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole message is compared
        load_experiment(experiment_file(text), ["seed=-1"])
    assert str(refused.value).splitlines() == [
        "--set: seed: expected a number of at least 0, got -1",
        "tiny.yaml: labels: missing, but required: what is predicted",
        "tiny.yaml: data.batch_size: unknown key; did you mean `training.batch_size`?",
        "tiny.yaml: training.phases.0.rounds: expected a number of at least 1, got 0",
        "tiny.yaml: training.phases.0.trainable: expected heads, all or parts, got 'head'",
        "tiny.yaml: lables: unknown key; did you mean `labels`?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tiny.yaml: expected keys such as name, labels and data, got nothing (null)"),
        ("- a\n", "tiny.yaml: expected keys such as name, labels and data, got a list"),
        ("name: a\nname: b\n", "tiny.yaml: line 2: the key `name` was already given on line 1; keep one"),
        ("name: [a\n", "tiny.yaml: line 2, column 1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused(experiment_file: WriteFile, text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole message is compared
        load_experiment(experiment_file(text))
    assert str(refused.value) == message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml: no such file; expected an experiment in YAML"):
        load_experiment("nowhere.yaml")
    with pytest.raises(FileNotFoundError, match=r": is a folder; expected an experiment file in YAML"):
        load_experiment(tmp_path)


def test_an_experiment_from_the_wire_is_validated_too(experiment_file: WriteFile) -> None:
    text = load_experiment(experiment_file()).model_dump_json().replace('"batch_size":16', '"batch_size":0')
    with pytest.raises(ValueError, match=r"^experiment: training\.batch_size: expected a number of at least 1, got 0$"):
        parse_experiment(text)
