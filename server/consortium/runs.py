"""The runs that were submitted to a consortium: their Flower ids and names, how they stand, waiting for their end."""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.audit import read_lines
from fedthorax.common.ground.lock import locked
from fedthorax.common.ground.machine import full_disk
from fedthorax.common.record.run_folder import ENDED_FROM_OUTSIDE, RunFolder
from fedthorax.server.consortium.control import FlowerRun, ServerNotRunningError, control
from fedthorax.server.consortium.folder import ConsortiumFolder

POLL_SECONDS = 2.0
STANDSTILL_SECONDS = 60.0  # of a full disk
NOT_BEGUN_SECONDS = 60.0  # some time more than a loaded machine needs to start a process


@dataclass(frozen=True)
class Submission:
    """One run, as it was submitted. A resumed run is a second submission of the same name."""

    run_id: int
    name: str
    run_folder: str
    experiment: str  # file name below ``submissions``
    submitted: float  # Unix seconds
    resumed: bool


def submissions_folder(folder: ConsortiumFolder) -> Path:
    """Experiments as they were submitted. It lies in the SuperLink's working directory, so that a ServerApp finds them
    by a relative path: what Flower distributes to hospitals names no folder of the lead's."""
    return folder.path / "submissions"


def note_submission(folder: ConsortiumFolder, submission: Submission) -> None:
    with locked(folder.path / ".submissions.lock"):
        lines = [json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in (*read_submissions(folder), submission)]
        write_text(_list(folder), "".join(lines))


def read_submissions(folder: ConsortiumFolder) -> tuple[Submission, ...]:
    """All of them, oldest first."""
    try:
        lines = _list(folder).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return ()
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError):  # half of one, of a version that did not write them whole
            found.append(Submission(**json.loads(line)))
    return tuple(found)


def find_submission(folder: ConsortiumFolder, wanted: str) -> Submission:
    """The newest submission with this Flower id or name; ValueError if there is none."""
    known = read_submissions(folder)
    for submission in reversed(known):
        if wanted in (str(submission.run_id), submission.name):
            return submission
    names = ", ".join(dict.fromkeys(s.name for s in reversed(known))) or "none"
    raise ValueError(f"no run {wanted!r} was submitted to this consortium; known names: {names}")


@dataclass(frozen=True)
class Verdict:
    """How a run that is over ended, from its own record. ``problem`` is None if it finished."""

    status: str  # finished, interrupted, stopped, failed or stands still
    problem: str | None


def last_words(submission: Submission) -> tuple[str, str | None] | None:
    """Status and error with which the run's own process has ended, whatever Flower knows; None while it has not."""
    folder = RunFolder(Path(submission.run_folder))
    return folder.how_it_ended() if _newer(folder.path / ".lock", submission) else None


def verdict(submission: Submission, flower: FlowerRun | None) -> Verdict:
    """What became of a run that is over, or that stands still on a full disk.

    Flower calls a run completed whose ServerApp ended without an error, and knows nothing of a run after its database
    was lost; metrics.json says what the run itself thinks. Only where both say that it finished did it finish.
    """
    folder, ended = RunFolder(Path(submission.run_folder)), last_words(submission)
    full = full_disk(folder.path)
    details = full or (flower.details.strip() if flower else "") or None
    if _newer(folder.metrics, submission):
        metrics = folder.read_metrics()
        status, error = str(metrics["status"]), metrics.get("error")
    elif ended is not None and ended[1] != ENDED_FROM_OUTSIDE:
        status, error = ended
    else:
        return Verdict("failed", details or "the run ended before it had written anything; see logs/superlink.log")
    if status == "running" and ended is None and full is not None:
        return Verdict("stands still", f"{full}, and come back with `fedthorax run --follow {submission.name}`")
    if status == "finished" and (flower is None or flower.sub_status == "completed"):
        return Verdict("finished", None)
    if flower is not None and flower.sub_status == "stopped":
        return Verdict("stopped", "stopped with `fedthorax run --stop`")
    if status == "running" or error == ENDED_FROM_OUTSIDE:
        how = details or (f"Flower says {flower.sub_status}" if flower else "the SuperLink does not know it any more")
        resume = f"go on with `fedthorax run --resume {submission.name}`"
        return Verdict("failed", f"{ENDED_FROM_OUTSIDE} ({how}); {resume}")
    return Verdict("failed" if status == "finished" else status, error or details or "it ended without a word")


def wait_until_over(
    folder: ConsortiumFolder,
    run_id: int,
    tell: Callable[[str], None],
    poll: float = POLL_SECONDS,
    ended: Callable[[], bool] = lambda: False,
) -> FlowerRun | None:
    """The run ``run_id`` as Flower sees it once it is over; None if the SuperLink does not know it.

    While the SuperLink does not answer, that is told once, and waited for; so is a run that it gives no process. Not on
    a full disk: there its state cannot be written, and it would call the run running for ever. None, then, once the
    run's process has ``ended`` or STANDSTILL_SECONDS have passed.
    """
    silent: float | None = None
    waited = 0.0
    while True:
        try:
            with control(folder) as link:
                run = link.run(run_id)
        except (ServerNotRunningError, RuntimeError) as error:
            if silent is None:
                tell(f"{error}; waiting for it")
                silent = time.monotonic()
            full, broken = full_disk(folder.path) is not None, isinstance(error, RuntimeError)
            if ((full or broken) and ended()) or (full and time.monotonic() - silent > STANDSTILL_SECONDS):
                return None
        else:
            if silent is not None:
                tell("the server answers again")
                silent = None
            if run is None or run.over:
                return run
            if run.status in ("pending", "starting"):
                if waited <= NOT_BEGUN_SECONDS < waited + poll:
                    tell(f"the run has had no process for {NOT_BEGUN_SECONDS:.0f} s; see logs/superlink.log")
                waited += poll
        time.sleep(poll)


def without_results(path: Path) -> list[str]:
    """The hospitals of the finished run at ``path`` that lack a model of it, by the run's own audit log.

    FileNotFoundError where no run is there; ValueError where it has not finished.
    """
    folder = RunFolder.load(path)
    document = folder.read_metrics()
    if document["status"] != "finished":
        raise ValueError(
            f"{path} has not finished (it is {document['status']}), so there is nothing to deliver; go on with "
            f"`fedthorax run --resume {document['name']}`"
        )
    models = json.loads((folder.model / "model.json").read_text(encoding="utf-8"))["models"]
    wanted = {model["weights_sha256"] for model in models.values()}
    had: dict[str, set[str]] = {}
    for entry in read_lines(folder.audit):
        if entry["event"] == "models delivered":
            had.setdefault(entry["facts"]["site"], set()).add(entry["facts"]["model_sha256"])
    return [site for site in document["sites"] if not wanted <= had.get(site, set())]


def _newer(file: Path, submission: Submission) -> bool:
    return file.is_file() and file.stat().st_mtime >= submission.submitted


def _list(folder: ConsortiumFolder) -> Path:
    return folder.path / "submissions.jsonl"
