"""Handing a run to the SuperLink: checked here first, then submitted with Flower's own ``flwr run``."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedthorax import __version__
from fedthorax.common.config import Experiment
from fedthorax.common.config.data import CENTRAL
from fedthorax.common.config.load import absolute, to_yaml
from fedthorax.common.config.travelling import require_folders
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.machine import full_disk
from fedthorax.server.consortium.control import (
    CONNECTION,
    ServerNotRunningError,
    control,
    flower_environment,
    write_connection,
)
from fedthorax.server.consortium.folder import ConsortiumFolder, require_admitted
from fedthorax.server.consortium.runs import Submission, note_submission, submissions_folder
from fedthorax.server.tracking import require_trackers

_SUBMIT_SECONDS = 120

# What Flower sends to every node: two references to code that each party has installed itself, and a name.
_APP = """\
[project]
name = "fedthorax-consortium"
version = "{version}"
description = "Runs the FedThorax that the lead and the hospitals have installed; holds no code."
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedthorax"
fab-include = ["README.md"]

[tool.flwr.app.components]
serverapp = "fedthorax.server_app:app"
clientapp = "fedthorax.client_app:app"

[tool.flwr.app.config]
experiment = ""
overwrite = false
resume = false
leave-out = "[]"
deliver = false
statistics = false
"""
_README = """\
# FedThorax {version} for a consortium

This bundle holds no code, no data, no keys and no paths. Server and hospitals run the FedThorax that they installed.
"""


def for_consortium(experiment: Experiment, folder: ConsortiumFolder) -> Experiment:
    """The experiment as the consortium's server runs it.

    Hospitals' folders are theirs to name. A relative ``output.folder`` lies in the consortium's folder; the other
    relative paths are relative to the working directory, as everywhere.
    """
    data = experiment.data.model_copy(update={"hospitals": dict.fromkeys(experiment.data.hospitals)})
    output = experiment.output.model_copy(update={"folder": folder.path / experiment.output.folder})
    return absolute(experiment.model_copy(update={"data": data, "output": output}))


def check_submission(experiment: Experiment, folder: ConsortiumFolder, overwrite: bool, resume: bool) -> None:
    """Refuse with ValueError or OSError what could not become a run; ``experiment`` is ``for_consortium``."""
    require_admitted(folder, experiment.data.hospitals)
    require_trackers(experiment.output)
    require_folders(experiment, (CENTRAL,))
    run_folder = experiment.run_folder
    if resume and not (run_folder / "config.yaml").is_file():
        raise FileNotFoundError(f"{run_folder} holds no run to resume")
    if not resume and not overwrite and run_folder.is_dir() and any(run_folder.iterdir()):
        raise FileExistsError(
            f"{run_folder} already holds a run; add --overwrite to replace it, --resume {experiment.name} to go on "
            "with it, or choose a new name"
        )


def submit(
    experiment: Experiment,
    folder: ConsortiumFolder,
    overwrite: bool = False,
    resume: bool = False,
    deliver: bool = False,
    leave_out: Sequence[str] = (),
) -> Submission:
    """Start a run of the checked ``experiment`` on the running SuperLink and return its ids.

    ``deliver``: of a finished one only what some hospitals still lack. ``leave_out`` have no part in the first round of
    a resumed one.

    OSError where the lead's disk is full; RuntimeError with Flower's words if it is refused.
    """
    submitted = time.time()
    flags: dict[str, bool | str] = {"overwrite": overwrite, "resume": resume, "deliver": deliver}
    flags["leave-out"] = json.dumps(list(leave_out))
    run_id, file = hand_in(experiment, folder, flags)
    submission = Submission(
        run_id, experiment.name, str(experiment.run_folder), file.name, submitted, resume or deliver
    )
    try:
        note_submission(folder, submission)
    except BaseException:  # as for a full disk; that is the error to tell, whether or not it can be stopped
        with contextlib.suppress(ServerNotRunningError, RuntimeError), control(folder) as link:
            link.stop(run_id)
        raise
    folder.audit.append("run_submitted", run_id=str(run_id), name=experiment.name, resumed=resume, delivery=deliver)
    return submission


def hand_in(experiment: Experiment, folder: ConsortiumFolder, flags: Mapping[str, bool | str]) -> tuple[int, Path]:
    """Have the SuperLink start a ServerApp for ``experiment``; returns Flower's id of it and the experiment's file.

    ``flags`` go into the run-config. RuntimeError with Flower's words if it is refused. A run that has begun although
    ``flwr run`` did not say so is returned; who interrupts ends it.
    """
    for place in (folder.path, experiment.run_folder):
        if full := full_disk(place):
            raise OSError(full)
    inbox = submissions_folder(folder)
    inbox.mkdir(exist_ok=True)
    file = inbox / f"{experiment.name}-{secrets.token_hex(4)}.yaml"
    write_text(file, to_yaml(experiment))
    write_connection(folder)
    with tempfile.TemporaryDirectory(prefix="fedthorax-") as scratch:
        app = Path(scratch) / "app"
        app.mkdir()
        write_text(app / "pyproject.toml", _APP.format(version=__version__))
        write_text(app / "README.md", _README.format(version=__version__))
        run_config = Path(scratch) / "run.toml"
        values = {"experiment": f"{inbox.name}/{file.name}", **flags}
        write_text(run_config, "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        try:
            return _flwr_run(folder, app, run_config), file
        except BaseException as error:
            # Who cannot be asked whether the run began has no answer for the person; the first error has.
            with contextlib.suppress(ServerNotRunningError, RuntimeError), control(folder) as link:
                if (begun := link.begun(str(values["experiment"]))) is not None:
                    if isinstance(error, RuntimeError):
                        return begun, file
                    link.stop(begun)
            file.unlink()  # so a run that comes of it yet, and that nobody would know of, ends at once
            raise


def _flwr_run(folder: ConsortiumFolder, app: Path, run_config: Path) -> int:
    flwr = str(Path(sys.executable).with_name("flwr"))
    command = [flwr, "run", str(app), CONNECTION, "--run-config", str(run_config), "--format", "json"]
    try:
        done = subprocess.run(
            command,
            cwd=folder.flower_home,
            env=os.environ | flower_environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SUBMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(
            f"`flwr run` did not answer within {_SUBMIT_SECONDS} s, and the SuperLink knows no run of it; one that "
            "comes of it yet finds no experiment and ends; see logs/superlink.log, and try again"
        ) from None
    answer = _json_in(done.stdout)
    if done.returncode or not answer.get("success") or not answer.get("run-id"):
        words = answer.get("error-message") or done.stderr.strip() or done.stdout.strip()
        raise RuntimeError(f"`flwr run` could not submit the run: {' '.join(str(words).split())[:500]}")
    return int(str(answer["run-id"]))


def _json_in(text: str) -> dict[str, object]:
    """The JSON object that Flower printed, whatever it printed around it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
