"""Where a command writes: its result on stdout, everything else on stderr."""

import json
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

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


def say(text: str, to_stderr: bool = False, style: str | None = None) -> None:
    """One line for a person, as it stands: names in it are no markup, and a terminal alone breaks it."""
    console(to_stderr).print(text, style=style, markup=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str) + "\n")


def near(path: Path) -> str:
    """The path as a person would type it: relative when it lies below the working directory."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def require_place(path: Path | None, makes_folders: bool = False) -> None:
    """Raise OSError where ``path`` cannot be written, before the work whose result is to go there; None: nowhere.
    ``makes_folders``: those above it are made if need be."""
    if path is None:
        return
    folder = path.absolute().parent
    while makes_folders and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        words = "is a file" if folder.exists() else "does not exist; make it first"
        raise FileNotFoundError(f"{path}: the folder {near(folder)} {words}")
    if path.is_dir() and not makes_folders:
        raise IsADirectoryError(f"{path}: is a folder; name the file to write")
    try:
        with tempfile.TemporaryFile(dir=folder):  # root may do what the mode says that nobody may
            pass
    except OSError as error:
        raise type(error)(f"{path}: the folder {near(folder)} takes no file: {error.strerror}") from error


def overrides(sets: list[str] | None, name: str | None) -> list[str]:
    """``--set`` and ``--name`` together."""
    return [*(sets or []), *([f"name={json.dumps(name)}"] if name is not None else [])]


@contextmanager
def until_interrupted() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a polite kill sets; a second Ctrl-C is handled as everywhere else."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number, present in before.items():
        if present is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, present in before.items():
            signal.signal(number, present)


@contextmanager
def counted(output: Console, words: str) -> Iterator[Callable[[int, int], None]]:
    """A function ``(done, total)`` that moves the bar."""
    columns = (TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output, transient=True, disable=not output.is_terminal) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
