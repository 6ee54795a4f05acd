"""The runs that are compared: all hospitals together, each alone, and all without one of them.

Each is an ordinary run in a folder of its own; one that has finished is not run again, one that was stopped goes on.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import yaml

from fedthorax.common.config import Experiment
from fedthorax.common.config.personalisation import PersonalisationConfig
from fedthorax.common.consortium import tied
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.record.run import Run
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.server.resume import check_same
from fedthorax.simulations.centralised import with_one_site

TOGETHER = "together"
MOST_RETRAININGS = 6  # hospitals up to which each is left out in a whole run; the cost grows with their square
SHARE_OF_ROUNDS = 4  # beyond, the runs without a hospital have a quarter of the rounds, and so has their reference
_INTERRUPTED = 128 + signal.SIGINT
FINE_TUNE = ("batch_norm", "outputs", "heads")


@dataclass(frozen=True)
class Arm:
    """``name`` is also the folder below the comparison's; ``alone`` names the hospital that trains by itself."""

    name: str
    experiment: Experiment
    alone: str | None = None

    @property
    def folder(self) -> Path:
        return self.experiment.run_folder

    @property
    def as_run(self) -> Experiment:
        """What its run folder says that was run."""
        return self.experiment if self.alone is None else with_one_site(self.experiment)

    @property
    def words(self) -> str:
        """What the arm is, for a person."""
        names = list(self.experiment.data.hospitals)
        return f"{self.alone} alone" if self.alone is not None else f"together: {', '.join(names)}"


@dataclass(frozen=True)
class Plan:
    """``without`` has, by hospital, the arm that leaves it out, and ``reference`` is what that is compared with."""

    together: Arm
    alone: dict[str, Arm]
    without: dict[str, Arm]
    reference: Arm | None
    exact: bool

    @property
    def arms(self) -> tuple[Arm, ...]:
        reference = (self.reference,) if self.reference is not None and self.reference != self.together else ()
        without = [arm for arm in self.without.values() if arm.alone is None]
        return (self.together, *self.alone.values(), *reference, *without)


def plan_arms(experiment: Experiment, folder: Path, leave_out: bool = True) -> Plan:
    """The arms of ``experiment`` below ``folder``. Raises ValueError where there are not two hospitals to compare."""
    hospitals = tuple(experiment.data.hospitals)
    if len(hospitals) < 2:
        raise ValueError(f"data.hospitals has {len(hospitals)} hospital; joining takes two or more")
    personal = experiment.personalisation
    if not personal.fine_tune:
        personal = personal.model_copy(update={"fine_tune": FINE_TUNE})
    together = Arm(TOGETHER, _placed(experiment, folder, TOGETHER, personalisation=personal))
    alone = {
        name: Arm(f"alone-{number}", _placed(experiment, folder, f"alone-{number}"), name)
        for number, name in enumerate(hospitals, 1)
    }
    if not leave_out:
        return Plan(together, alone, {}, None, True)
    if len(hospitals) == 2:  # without the one is the other alone
        first, second = hospitals
        return Plan(together, alone, {first: alone[second], second: alone[first]}, together, True)
    exact = len(hospitals) <= MOST_RETRAININGS
    shorter = experiment if exact else _shorter(experiment)
    without = {
        name: Arm(f"without-{number}", _placed(_without(shorter, name), folder, f"without-{number}"))
        for number, name in enumerate(hospitals, 1)
    }
    reference = together if exact else Arm("short", _placed(shorter, folder, "short"))
    return Plan(together, alone, without, reference, exact)


def finished(arm: Arm) -> Run | None:
    """The arm's run if it has finished. ValueError where the run that is there is of another
    experiment."""
    if not (arm.folder / "metrics.json").is_file():
        return None
    done = RunFolder.load(arm.folder)
    check_same(done.read_config()[0], arm.as_run, 0)
    run = done.read_run()
    return run if run.status == "finished" else None


def run_arm(arm: Arm, output: IO[str] | None = None) -> Run:
    """Run the arm, or what is left of it, in a process of its own, whose memory goes with it. The process
    ends with this one, and with the thread that calls this.

    ``output`` takes what the process says, by default this one's own. Raises RuntimeError where it fails, and
    KeyboardInterrupt where it is interrupted: then it goes on from its newest checkpoint the next time.
    """
    file = arm.folder.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, yaml.safe_dump(arm.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    command = [sys.executable, "-m", "fedthorax.cli.main", *_arguments(arm, file)]
    # Else a comparison that is killed without a word leaves a run behind that holds its folder.
    tie = [sys.executable, "-I", "-S", tied.__file__, str(os.getpid()), "", ""]
    process = subprocess.Popen([*tie, *command], stdout=output, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # the session of its own keeps the terminal's Ctrl-C from it
        process.wait()
        raise
    if code == _INTERRUPTED:
        raise KeyboardInterrupt
    run = finished(arm) if code == 0 else None
    if run is None:
        raise RuntimeError(f"the run {arm.name} in {arm.folder} failed (exit status {code}); its reason stands above")
    return run


def _arguments(arm: Arm, file: Path) -> list[str]:
    if arm.alone is not None:
        return ["train", str(file), "--hospital", arm.alone, "--overwrite"]
    stopped = any((arm.folder / "checkpoints").glob("round-*.npz"))
    return ["simulate", str(file), "--resume" if stopped else "--overwrite"]


def _placed(experiment: Experiment, folder: Path, name: str, **changes: Any) -> Experiment:
    output = experiment.output.model_copy(update={"folder": folder})
    changes = {"personalisation": PersonalisationConfig()} | changes
    return experiment.model_copy(update={"name": name, "output": output, **changes})


def _without(experiment: Experiment, hospital: str) -> Experiment:
    hospitals = {name: source for name, source in experiment.data.hospitals.items() if name != hospital}
    least = experiment.federation.min_sites
    federation = experiment.federation.model_copy(update={"min_sites": least and min(least, len(hospitals))})
    data = experiment.data.model_copy(update={"hospitals": hospitals})
    return experiment.model_copy(update={"data": data, "federation": federation})


def _shorter(experiment: Experiment) -> Experiment:
    phases = tuple(
        phase.model_copy(update={"rounds": -(-phase.rounds // SHARE_OF_ROUNDS)}) for phase in experiment.training.phases
    )
    return experiment.model_copy(update={"training": experiment.training.model_copy(update={"phases": phases})})
