import contextlib
import io
import subprocess
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.proto.control_pb2 import ListRunsResponse
from flwr.proto.run_pb2 import Run
from flwr.proto.transport_pb2 import Scalar

from fedthorax.common.config.load import load_experiment
from fedthorax.server.consortium import submit as module
from fedthorax.server.consortium.admission import admit
from fedthorax.server.consortium.control import Control
from fedthorax.server.consortium.runs import read_submissions
from fedthorax.server.consortium.submit import check_submission, for_consortium, submit

TEXT = """\
name: chest
labels: {findings: [Effusion], cancer_classes: [normal, tumour]}
data:
  hospitals: {St. Anna: null, Berta: null}
  central: {xray: central/xray, ct: central/ct}
training:
  phases: [{rounds: 2, trainable: heads}]
"""


@pytest.fixture
def experiment(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("chest.yaml").write_text(TEXT)
    return for_consortium(load_experiment(Path("chest.yaml")), folder)


@pytest.fixture
def ready(folder, applicant, tmp_path):
    """Both hospitals are admitted and the server's images are there."""
    for name in ("St. Anna", "Berta"):
        admit(folder, applicant(name).file)
    for kind in ("xray", "ct"):
        (tmp_path / "central" / kind).mkdir(parents=True)


def test_runs_lie_in_the_consortiums_folder_and_hospitals_name_their_own_images(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("chest.yaml").write_text(TEXT.replace("St. Anna: null", "St. Anna: {xray: /a, ct: /b}"))
    made = for_consortium(load_experiment(Path("chest.yaml")), folder)
    assert made.run_folder == folder.path / "runs" / "chest"
    assert made.data.hospitals == {"St. Anna": None, "Berta": None}
    assert made.data.central_sources().xray.folder == tmp_path / "central" / "xray"
    elsewhere = for_consortium(load_experiment(Path("chest.yaml"), ["output.folder=/data/runs"]), folder)
    assert elsewhere.run_folder == Path("/data/runs/chest")


def test_a_run_with_a_hospital_that_is_not_admitted_is_refused(folder, experiment, applicant):
    admit(folder, applicant("Berta").file)
    with pytest.raises(ValueError, match=r"data.hospitals names St. Anna, not admitted .* admitted are Berta"):
        check_submission(experiment, folder, overwrite=False, resume=False)


@pytest.mark.usefixtures("ready")
def test_a_run_that_is_there_is_neither_replaced_nor_resumed_by_accident(folder, experiment):
    check_submission(experiment, folder, overwrite=False, resume=False)
    with pytest.raises(FileNotFoundError, match="holds no run to resume"):
        check_submission(experiment, folder, overwrite=False, resume=True)
    experiment.run_folder.mkdir()
    (experiment.run_folder / "config.yaml").write_text("")
    with pytest.raises(FileExistsError, match="--overwrite to replace it, --resume chest to go on with it"):
        check_submission(experiment, folder, overwrite=False, resume=False)
    check_submission(experiment, folder, overwrite=True, resume=False)
    check_submission(experiment, folder, overwrite=False, resume=True)


@pytest.mark.usefixtures("ready")
def test_the_servers_own_images_have_to_be_there(folder, experiment, tmp_path):
    (tmp_path / "central" / "ct").rmdir()
    with pytest.raises(FileNotFoundError, match=r"data\.central: .*ct: no such folder"):
        check_submission(experiment, folder, overwrite=False, resume=False)


@pytest.mark.usefixtures("ready")
def test_a_tracker_that_is_not_installed_is_named_before_the_run_is_handed_in(folder, experiment, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    wanted = experiment.model_copy(update={"output": experiment.output.model_copy(update={"tensorboard": True})})
    with pytest.raises(ValueError, match=r"output\.tensorboard needs the package tensorboard"):
        check_submission(wanted, folder, overwrite=False, resume=False)


def test_what_flower_distributes_holds_no_code_no_paths_and_no_names(folder, experiment, monkeypatch):
    """The bundle is built by Flower itself from what `flwr run` is given; only its sending is replaced."""
    sent = {}

    def flwr(command, **_):
        from flwr.cli.build import build_fab_from_disk

        sent["bundle"] = build_fab_from_disk(Path(command[2]))
        sent["run_config"] = Path(command[command.index("--run-config") + 1]).read_text()
        return subprocess.CompletedProcess(command, 0, 'words\n{"success": true, "run-id": "41"}\n', "")

    monkeypatch.setattr(module.subprocess, "run", flwr)
    submission = submit(experiment, folder, overwrite=True)
    with zipfile.ZipFile(io.BytesIO(sent["bundle"])) as bundle:
        names = bundle.namelist()
        content = b"".join(bundle.read(name) for name in names).decode() + sent["run_config"]
    assert {Path(name).name for name in names} <= {"README.md", "pyproject.toml", "CONTENT", "FAB_FORMAT_VERSION"}
    assert not [name for name in names if name.endswith(".py")]
    for secret in (str(folder.path), str(Path.cwd()), "PRIVATE", "BEGIN", "St. Anna", "central"):
        assert secret not in content, secret
    config = tomllib.loads(sent["run_config"])
    assert config == {
        "experiment": f"submissions/{submission.experiment}",
        "overwrite": True,
        "resume": False,
        "deliver": False,
        "leave-out": "[]",
    }
    assert load_experiment(folder.path / config["experiment"]) == experiment
    assert read_submissions(folder) == (submission,)
    assert (submission.run_id, submission.name) == (41, "chest")


@pytest.mark.parametrize(
    ("code", "output", "errors", "words"),
    [
        (1, '{"success": false, "error-message": "Connection refused"}', "", "Connection refused"),
        (2, "", "usage: flwr", "usage: flwr"),
        (0, "nothing", "", "nothing"),
    ],
)
def test_flowers_own_words_come_with_a_refusal(folder, experiment, monkeypatch, code, output, errors, words):
    done = subprocess.CompletedProcess([], code, output, errors)
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(RuntimeError, match=f"could not submit the run: .*{words}"):
        submit(experiment, folder)
    assert read_submissions(folder) == ()


class Link:
    """A SuperLink that has begun a run of the experiment whose file is there, or none."""

    def __init__(self, folder, begun):
        self.folder, self.number, self.stopped = folder, begun, []

    def begun(self, experiment):
        assert (self.folder.path / experiment).is_file()
        return self.number

    def stop(self, run_id):
        self.stopped.append(run_id)


@pytest.fixture
def flwr_ends(folder, monkeypatch):
    """`flwr run` ends with ``error`` after the SuperLink has begun run ``begun``."""

    def make(error, begun):
        link = Link(folder, begun)
        monkeypatch.setattr(module, "control", lambda _: contextlib.nullcontext(link))
        monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(error))
        return link

    return make


def test_a_run_that_began_although_flower_did_not_answer_is_listed(folder, experiment, flwr_ends):
    link = flwr_ends(subprocess.TimeoutExpired("flwr", 120), 41)
    assert submit(experiment, folder).run_id == 41
    (listed,) = read_submissions(folder)
    assert (listed.run_id, (folder.path / "submissions" / listed.experiment).is_file(), link.stopped) == (41, True, [])


def test_where_flower_does_not_answer_and_no_run_began_none_can_begin_later(folder, experiment, flwr_ends):
    flwr_ends(subprocess.TimeoutExpired("flwr", 120), None)
    with pytest.raises(RuntimeError, match="did not answer within 120 s, and the SuperLink knows no run of it"):
        submit(experiment, folder)
    assert (read_submissions(folder), list((folder.path / "submissions").iterdir())) == ((), [])


def test_who_interrupts_the_handing_in_leaves_no_run_that_nobody_knows(folder, experiment, flwr_ends):
    link = flwr_ends(KeyboardInterrupt(), 41)
    with pytest.raises(KeyboardInterrupt):
        submit(experiment, folder)
    assert link.stopped == [41]
    assert (read_submissions(folder), list((folder.path / "submissions").iterdir())) == ((), [])


def test_a_run_that_cannot_be_listed_is_ended(folder, experiment, flwr_ends, monkeypatch):
    link = flwr_ends(subprocess.TimeoutExpired("flwr", 120), 41)
    monkeypatch.setattr(module, "note_submission", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        submit(experiment, folder)
    assert link.stopped == [41]


def test_a_run_is_found_by_its_experiment_among_those_that_the_superlink_lists():
    runs = {
        number: Run(run_id=number, override_config={"experiment": Scalar(string=f"{number}.yaml")}) for number in (7, 8)
    }
    runs[9] = Run(run_id=9)
    link = Control(SimpleNamespace(ListRuns=lambda _: ListRunsResponse(run_dict=runs)))
    assert [link.begun(f"{number}.yaml") for number in (7, 8, 10)] == [7, 8, None]


def test_flowers_own_commands_find_the_superlink_with_the_leads_flwr_home(folder):
    module.write_connection(folder)
    config = tomllib.loads((folder.flower_home / "config.toml").read_text())
    assert config["superlink"]["default"] == "consortium"
    assert config["superlink"]["consortium"] == {
        "address": folder.settings().superlink_address,
        "root-certificates": str(folder.loopback_certificate),
    }
