"""``fedthorax run``: a run of a real consortium, from its lead."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedthorax.cli.live import watched
from fedthorax.cli.outcome import tell_outcome
from fedthorax.cli.output import (
    JsonOption,
    LeaveOutOption,
    NameOption,
    OverwriteOption,
    SetOption,
    console,
    overrides,
    print_json,
    say,
)
from fedthorax.cli.server import FolderOption
from fedthorax.common.config.load import load_experiment

if TYPE_CHECKING:
    from fedthorax.server.consortium.folder import ConsortiumFolder
    from fedthorax.server.consortium.runs import Submission


def run(
    file: Annotated[Path | None, typer.Argument(metavar="[EXPERIMENT.yaml]", help="Experiment file.")] = None,
    folder: FolderOption = None,
    sets: SetOption = None,
    name: NameOption = None,
    overwrite: OverwriteOption = False,
    follow: Annotated[
        str | None, typer.Option("--follow", metavar="ID", help="Return to a run, by id or name.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="ID", help="Stop a run, by id or name.")] = None,
    resume: Annotated[str | None, typer.Option("--resume", metavar="NAME", help="Go on with a run that ended.")] = None,
    leave_out: LeaveOutOption = None,
    deliver: Annotated[
        str | None,
        typer.Option(
            "--deliver", metavar="NAME", help="Give a finished run's models to hospitals that were away at its end."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit, print the run's id, and return.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run EXPERIMENT on the consortium's hospitals and follow it to its report.

    Ctrl-C leaves the run going. The exit status is 0 only if it finished.

    \b
    Example:
      fedthorax run chest.yaml --folder thorax-network
      fedthorax run --follow chest
      fedthorax run --resume chest
      fedthorax run --stop chest
      fedthorax run --deliver chest
    """
    from fedthorax.server.consortium.folder import open_consortium

    wanted = [option for option in (file, follow, stop, resume, deliver) if option is not None]
    if len(wanted) != 1 and not (len(wanted) == 2 and file is not None and resume is not None):
        raise typer.BadParameter("give one of EXPERIMENT.yaml, --follow, --stop, --resume and --deliver")
    consortium = open_consortium(folder)
    if stop is not None:
        _stop(consortium, stop)
    elif follow is not None:
        from fedthorax.server.consortium.runs import find_submission

        _follow(consortium, find_submission(consortium, follow), as_json)
    elif deliver is not None:
        _deliver(consortium, deliver, as_json)
    else:
        changes = overrides(sets, name)
        submission = _submit(consortium, file, changes, resume, overwrite, leave_out or [])
        say(f"submitted {submission.name} as {submission.run_id}", as_json)
        if detach:
            if as_json:
                print_json({"name": submission.name, "run_id": str(submission.run_id)})
            return
        _follow(consortium, submission, as_json)


def _submit(
    consortium: "ConsortiumFolder",
    file: Path | None,
    changes: list[str],
    resume: str | None,
    overwrite: bool,
    leave_out: list[str],
) -> "Submission":
    from fedthorax.server.consortium.control import control
    from fedthorax.server.consortium.runs import find_submission
    from fedthorax.server.consortium.submit import check_submission, for_consortium, submit

    if resume is not None and file is None:
        earlier = find_submission(consortium, resume)
        file = Path(earlier.run_folder) / "config.yaml"
    assert file is not None
    experiment = for_consortium(load_experiment(file, changes), consortium)
    if resume is not None and experiment.name != resume:
        raise ValueError(f"{file}: its name is {experiment.name}, not {resume}; a run is resumed under its own name")
    with control(consortium) as link:
        link.nodes()  # ServerNotRunningError before anything is written
    if leave_out:
        from fedthorax.server.resume import check_leave_out  # with it comes TensorFlow, which takes seconds

        check_leave_out(experiment, leave_out, resume is not None)
    check_submission(experiment, consortium, overwrite, resume is not None)
    return submit(experiment, consortium, overwrite, resume is not None, leave_out=leave_out)


def _deliver(consortium: "ConsortiumFolder", name: str, as_json: bool) -> None:
    from fedthorax.server.consortium.control import control
    from fedthorax.server.consortium.runs import find_submission, without_results
    from fedthorax.server.consortium.submit import for_consortium, submit

    run_folder = Path(find_submission(consortium, name).run_folder)
    lacking = without_results(run_folder)
    if lacking:
        experiment = for_consortium(load_experiment(run_folder / "config.yaml"), consortium)
        with control(consortium) as link:
            link.nodes()  # ServerNotRunningError before anything is written
        say(f"{experiment.name}: for {', '.join(lacking)}", as_json)
        problem = _watch(consortium, submit(experiment, consortium, deliver=True), as_json)
        if left := without_results(run_folder):
            again = f"once they are connected: fedthorax run --deliver {experiment.name}"
            raise RuntimeError(f"still without models and report: {', '.join(left)}; {again}")
        if problem is not None:
            raise RuntimeError(f"{experiment.name}: {problem}")
    if as_json:
        print_json({"name": name, "delivered": lacking})
    else:
        say("every hospital has its models and its report")


def _follow(consortium: "ConsortiumFolder", submission: "Submission", as_json: bool) -> None:
    problem = _watch(consortium, submission, as_json)
    if problem is not None:
        raise RuntimeError(f"{submission.name} {problem}")
    tell_outcome(Path(submission.run_folder), as_json)


def _watch(consortium: "ConsortiumFolder", submission: "Submission", as_json: bool) -> str | None:
    """Show the run until it is over; how it ended and why, unless it finished."""
    from fedthorax.common.record.run_folder import RunFolder
    from fedthorax.server.consortium.runs import POLL_SECONDS, last_words, verdict, wait_until_over

    out, events = console(to_stderr=as_json), RunFolder(Path(submission.run_folder)).events
    with _leaving(submission), watched(events, out, since=submission.submitted):
        flower = wait_until_over(
            consortium,
            submission.run_id,
            lambda text: out.print(text, markup=False, soft_wrap=True),
            POLL_SECONDS,
            lambda: last_words(submission) is not None,
        )
    end = verdict(submission, flower)
    return None if end.problem is None else f"{end.status}: {end.problem}"


@contextlib.contextmanager
def _leaving(submission: "Submission") -> Iterator[None]:
    """Ctrl-C ends the following and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"the run goes on; come back with: fedthorax run --follow {submission.name}", to_stderr=True)
        raise


def _stop(consortium: "ConsortiumFolder", wanted: str) -> None:
    from fedthorax.server.consortium.control import control
    from fedthorax.server.consortium.runs import find_submission

    submission = find_submission(consortium, wanted)
    with control(consortium) as link:
        if not link.stop(submission.run_id):
            present = link.run(submission.run_id)
            state = "unknown to the SuperLink" if present is None else present.sub_status or present.status
            raise ValueError(f"{submission.name} ({submission.run_id}) cannot be stopped: it is {state}")
    consortium.audit.append("run_stopped", run_id=str(submission.run_id), name=submission.name)
    say(f"stopped {submission.name}; go on with: fedthorax run --resume {submission.name}")
