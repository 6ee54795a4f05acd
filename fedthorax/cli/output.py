"""Where a command writes: its result on stdout, everything else on stderr."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the file; may be given several times."),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the run, instead of the file's.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
LeaveOutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--leave-out", metavar="HOSPITAL", help="With --resume: without its part in the first round; several times."
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run of this name that was stopped.")]

PLAIN_WIDTH = 80


def console(to_stderr: bool = False) -> Console:
    """A console for people: colours only on a terminal and without NO_COLOR, 80 columns where there is no terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    terminal = stream.isatty()
    return Console(file=stream, highlight=False, soft_wrap=not terminal, width=None if terminal else PLAIN_WIDTH)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str) + "\n")


def near(path: Path) -> str:
    """The path as a person would type it: relative when it lies below the working directory."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def overrides(sets: list[str] | None, name: str | None) -> list[str]:
    """``--set`` and ``--name`` together."""
    return [*(sets or []), *([f"name={json.dumps(name)}"] if name is not None else [])]
