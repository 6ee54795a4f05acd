"""``fedthorax replay``: make a finished run again, and tell whether it is the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from fedthorax.cli.live import watched
from fedthorax.cli.output import JsonOption, console, counted, near, print_json, say
from fedthorax.cli.replay_text import condition_lines, difference_lines

if TYPE_CHECKING:
    from fedthorax.common.replay.conditions import Changes, StoredRun

EXIT_DIFFERENT = 3


def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run, such as runs/demo.")],
    name: Annotated[str | None, typer.Option("--name", help="Name of the new run.  [default: NAME-replay]")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only look whether settings, versions and data changed.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Run even if the data have changed.")] = False,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="RUN", help="Run nothing: compare with this run.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Numbers that differ by no more count as the same.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run RUN again, from the configuration stored in it, into a new folder, and
    tell where and by how much the two differ: in the weights after each round
    and in every figure. Settings, package versions, machine and data are
    compared before. Exit status: 0 if all is the same, 3 if anything differs,
    1 if it could not be run.

    \b
    Example:
      fedthorax replay runs/demo
      fedthorax replay runs/demo --check
      fedthorax replay runs/demo --against runs/other-machine --tolerance 1e-4
    """
    if against is not None and (check or anyway or name is not None):
        raise typer.BadParameter("--against runs nothing; it goes with neither --check, --anyway nor --name")
    from fedthorax.common.replay.conditions import stored_run
    from fedthorax.common.replay.differences import largest, run_differences

    stored, out = stored_run(run), console(to_stderr=as_json)
    result: dict[str, Any] = {"run": str(run.absolute())}
    if against is None:
        result["conditions"] = conditions = _conditions(stored, out)
        result["not_compared"] = list(stored.without_fingerprint)
        _tell(condition_lines(conditions, stored.without_fingerprint), out)
        unchanged = not any(conditions.values())
        if check:
            if as_json:
                print_json(result | {"same": unchanged})
            raise typer.Exit(0 if unchanged else EXIT_DIFFERENT)
        if conditions["data"] and not anyway:
            sites = ", ".join(conditions["data"])
            raise ValueError(
                f"the data of {sites} are not those of the run, so it cannot come out the same; put them back, or add "
                "--anyway to see by how much it differs"
            )
        against = _again(stored, name, out)
    found = run_differences(run, against, tolerance)
    if as_json:
        biggest = largest(found.differences)
        print_json(
            {**result, "replay": str(against.absolute()), "largest": biggest and vars(biggest)} | found.document()
        )
    else:
        _tell(difference_lines(found), out)
        how = (
            "the same, bit by bit" if found.same_weights and not found.differences else "the same within the tolerance"
        )
        say(f"{near(run)} and {near(against)}: {how if found.same else 'different'}")
    if not found.same:
        raise typer.Exit(EXIT_DIFFERENT)


def _tell(lines: list[str], out: Console) -> None:
    for line in lines:
        out.print(line, markup=False, soft_wrap=True)


def _conditions(stored: "StoredRun", out: Console) -> "dict[str, Changes]":
    """By subject what has changed since the run."""
    from fedthorax.common.replay.conditions import data_changes, machine_changes, settings_changes, version_changes
    from fedthorax.simulations.simulate import data_fingerprint, require_replayable

    require_replayable(stored)

    def fingerprint_of(site: str) -> str:
        with counted(out, f"reading {site}") as progress:
            return data_fingerprint(stored, site, progress)

    return {
        "settings": settings_changes(stored),
        "versions": version_changes(stored),
        "machine": machine_changes(stored),
        "data": data_changes(stored, fingerprint_of),
    }


def _again(stored: "StoredRun", name: str | None, out: Console) -> Path:
    """The folder of the new run, once it has finished."""
    from fedthorax.simulations.simulate import replay_experiment

    experiment = replay_experiment(stored, name)
    out.print(f"running again as {experiment.name}", markup=False, soft_wrap=True)
    from fedthorax.simulations.simulate import run_again

    with watched(experiment.run_folder / "events.jsonl", out):
        outcome = run_again(stored, experiment)
    if outcome.status != "finished":
        raise KeyboardInterrupt
    return outcome.folder
