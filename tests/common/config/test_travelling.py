import pytest

from fedthorax.common.config.load import absolute, load_experiment, parse_experiment
from fedthorax.common.config.travelling import require_folders, require_local, travelling


@pytest.fixture
def experiment(experiment_file, tmp_path):
    sets = [f"data.cache.folder={tmp_path}/cache", f"output.folder={tmp_path}/runs", "model.weights=weights.h5"]
    return absolute(load_experiment(experiment_file(), sets))


def test_what_travels_names_the_hospitals_but_nobody_s_folders(experiment, tmp_path):
    sent = travelling(experiment)
    assert sent.data.hospitals == {"north": None, "st.mary": None}
    assert sent.data.central is None
    assert str(tmp_path) not in sent.model_dump_json()
    assert "/" not in sent.model_dump_json()


def test_what_travels_asks_for_the_same_work(experiment):
    sent = travelling(experiment)
    for part in ("seed", "labels", "training", "federation", "evaluation"):
        assert getattr(sent, part) == getattr(experiment, part)
    assert sent.model.model_copy(update={"weights": "weights.h5"}) == experiment.model.model_copy(
        update={"weights": "weights.h5"}
    )


def test_a_hospital_reads_it_though_its_random_network_begins_with_frozen_backbones(experiment):
    sent = travelling(experiment)
    assert sent.training.phases[0].trainable == "heads"
    assert sent.model.batch_norm == "frozen"
    assert parse_experiment(sent.model_dump_json()) == sent
    assert absolute(sent).model.weights == "received"  # not taken for a path


def test_random_weights_stay_what_they_are(experiment_file):
    sets = ["model.weights=none", "model.batch_norm=train", "training.phases=[{rounds: 1, trainable: all}]"]
    assert travelling(load_experiment(experiment_file(), sets)).model.weights == "none"


def make_folders(experiment, *names):
    for name in names:
        for folder in experiment.data.folders_of(name)[0].by_modality.values():
            folder.mkdir(parents=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("data.hospitals.north=null", "data.hospitals.north is null: only the hospital's own site.yaml names its fol"),
        ("data.central=null", "data.central is null: the server needs its own X-ray and CT folders"),
        ("model.weights=received", "model.weights is received, which only a hospital of a consortium reads"),
    ],
)
def test_a_run_on_this_machine_needs_every_folder_and_the_weights(experiment_file, change, words):
    make_folders(load_experiment(experiment_file()), "central", "north", "st.mary")
    experiment = load_experiment(experiment_file(), [change])
    with pytest.raises(ValueError, match=words):
        require_local(experiment, experiment.data.hospitals)


def test_folders_that_are_not_there_are_named_before_anything_slow_begins(experiment):
    hospitals = experiment.data.hospitals
    with pytest.raises(FileNotFoundError, match=r"^data\.central: .*: no such folder$"):
        require_local(experiment, hospitals)
    make_folders(experiment, "central", "north")
    with pytest.raises(FileNotFoundError, match=r"^data\.hospitals\.st\.mary: .*: no such folder$"):
        require_local(experiment, hospitals)
    require_local(experiment, hospitals, least=1)  # a round may be closed without it
    require_folders(experiment, ("north",))
