"""What a finished run says: its test scores, its best round, where the report is."""

from pathlib import Path
from typing import Any

from rich.console import Console

from fedthorax.cli.output import console, near, print_json
from fedthorax.cli.tables import headline_lines


def tell_outcome(status: str, run_folder: Path, metrics: dict[str, Any], as_json: bool) -> None:
    """Print how a run ended. Raises KeyboardInterrupt where it was interrupted: the exit status has to say so."""
    if status == "interrupted":
        raise KeyboardInterrupt
    outcome = headline(run_folder, metrics)
    if as_json:
        print_json(outcome)
    else:
        print_outcome(outcome, console())


def headline(run_folder: Path, metrics: dict[str, Any]) -> dict[str, Any]:
    """The run in brief, out of what metrics.json holds, as ``--json`` prints it."""
    test = metrics.get("test")
    report = run_folder / "report.html"
    return {
        "name": metrics["name"],
        "run_folder": str(run_folder.absolute()),
        "report": str(report.absolute()) if report.is_file() else None,
        "rounds": max((entry["round"] for entry in metrics["rounds"]), default=0),
        "best_round": metrics.get("best_round"),
        "stopped_early": metrics.get("stopped_early", False),
        "seconds": (metrics.get("totals") or {}).get("seconds"),
        "failures": [
            {"round": entry["round"], **failure} for entry in metrics["rounds"] for failure in entry.get("failures", ())
        ],
        "test": None if test is None else {key: value for key, value in test.items() if key != "curves"},
    }


def print_outcome(outcome: dict[str, Any], output: Console) -> None:
    """The outcome for a person; the last line is the path to open."""
    early = ", stopped early" if outcome["stopped_early"] else ""
    output.print(f"best round {outcome['best_round']} of {outcome['rounds']}{early}", markup=False)
    if outcome["test"] is None:
        output.print("no test scores: the server's folders hold no test images", markup=False)
    else:
        has_intervals = bool(outcome["test"].get("intervals"))
        output.print("test scores of this round" + (", 95 % intervals" if has_intervals else ""), style="bold")
        for line in headline_lines(outcome["test"]):
            output.print(line, markup=False)
    where = outcome["report"] or outcome["run_folder"]
    output.print(f"{'report' if outcome['report'] else 'run'}: {near(Path(where))}", markup=False, soft_wrap=True)
