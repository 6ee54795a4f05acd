"""What a finished run says: its test scores, its best round, where the report is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedthorax.cli.output import console, near, print_json
from fedthorax.cli.tables import headline_lines

if TYPE_CHECKING:
    from fedthorax.common.record.run import Run


def tell_outcome(folder: Path, as_json: bool) -> None:
    """Print how the run in ``folder`` ended. Raises KeyboardInterrupt where it was interrupted: the exit status has to
    say so."""
    from fedthorax.common.record.run_folder import RunFolder

    run, page = RunFolder.load(folder).read_run(), folder / "report.html"
    if run.status == "interrupted":
        raise KeyboardInterrupt
    report = page.absolute() if page.is_file() else None
    if as_json:
        print_json({"report": report and str(report), "run_folder": str(folder.absolute()), **headline(run)})
        return
    out = console()
    early = ", stopped early" if run.stopped_early else ""
    out.print(f"best round {run.best_round} of {run.last_round}{early}", markup=False)
    if run.test is None:
        out.print("no test scores: the server's folders hold no test images", markup=False)
    else:
        out.print("test scores of this round" + (", 95 % intervals" if run.test.intervals else ""), style="bold")
        for line in headline_lines(run.test):
            out.print(line, markup=False)
    out.print(f"{'report' if report else 'run'}: {near(report or folder.absolute())}", markup=False, soft_wrap=True)


def headline(run: "Run") -> dict[str, Any]:
    """The run in brief, as ``--json`` prints it."""
    failures = [{"round": entry.round, **failure.model_dump()} for entry in run.rounds for failure in entry.failures]
    return {
        "name": run.name,
        "rounds": run.last_round,
        "best_round": run.best_round,
        "stopped_early": run.stopped_early,
        "seconds": run.totals.seconds,
        "failures": failures,
        "test": run.test and run.test.model_dump(mode="json", exclude_unset=True, exclude={"curves"}),
    }
