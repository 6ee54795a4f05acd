"""``fedthorax``: the list of commands, and how errors reach the person.

The commands import what they need when they run: ``fedthorax --help`` must not wait for TensorFlow.
"""

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import click
import typer
from typer.core import TyperCommand

from fedthorax import __version__
from fedthorax.cli.check import check
from fedthorax.cli.config import config
from fedthorax.cli.evaluate import evaluate
from fedthorax.cli.export import export
from fedthorax.cli.joining import joining
from fedthorax.cli.leakage import leakage
from fedthorax.cli.look import look
from fedthorax.cli.partition import partition
from fedthorax.cli.phantom import phantom
from fedthorax.cli.predict import predict
from fedthorax.cli.quiet import quiet_libraries
from fedthorax.cli.replay import replay
from fedthorax.cli.report import report
from fedthorax.cli.run import run as run_experiment
from fedthorax.cli.server import server
from fedthorax.cli.simulate import simulate
from fedthorax.cli.site import site
from fedthorax.cli.stats import stats
from fedthorax.cli.train import train
from fedthorax.cli.try_model import try_model
from fedthorax.cli.watch import watch
from fedthorax.cli.weights import weights

EXIT_ERROR = 1
EXIT_INTERNAL = 70  # EX_SOFTWARE of sysexits.h
EXIT_SIGNAL = 128


class _Command(TyperCommand):
    def get_help(self, ctx: click.Context) -> str:
        # typer 0.20 escapes the bracket for rich even where rich does not draw the help
        return super().get_help(ctx).replace("\\[", "[")


app = typer.Typer(
    name="fedthorax",
    add_completion=False,
    suggest_commands=False,  # Click suggests by itself
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
for _command, _short_help in (
    (simulate, "Train all hospitals together, on this machine."),
    (train, "Train on pooled images, or on one hospital's alone."),
    (joining, "Compare joining with staying alone, by hospital."),
    (leakage, "Measure what a model tells of its patients."),
    (evaluate, "Score a model on one site's images."),
    (predict, "Show what a model says about images."),
    (try_model, "Ask a model about images, on a page."),
    (export, "Write a model for other software, or as one zip."),
    (check, "Find what is wrong with images, labels and splits."),
    (look, "Draw what the model will see of a folder."),
    (phantom, "Draw hospitals full of phantom images."),
    (partition, "Deal out one collection to several hospitals."),
    (stats, "Ask all hospitals for counts; no image leaves."),
    (watch, "Show a run in the browser, as it goes."),
    (report, "Write a run's report again."),
    (replay, "Make a run again, and tell whether it is the same."),
    (config, "Show all settings, or check a file."),
    (run_experiment, "Train a real consortium's hospitals."),
):
    _name = "try" if _command is try_model else None  # a word that no function may have as its name
    app.command(_name, cls=_Command, short_help=_short_help, no_args_is_help=_command is not config)(_command)
app.add_typer(weights, name="weights", short_help="Get, check and show pretrained weights.")
app.add_typer(server, short_help="Lead a consortium: set up, admit, serve.")
app.add_typer(site, short_help="Be a hospital: set up, check, take part, decide.")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedthorax {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Hospitals train one chest X-ray and CT model together; only model updates
    travel.

    \b
    Example:
      fedthorax phantom data/demo
      fedthorax simulate configs/demo.yaml
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit status; every error ends here as text on stderr.

    A person's own mistakes come as ValueError, OSError or RuntimeError with a message made for them. Anything else is a
    defect of the program and says so.
    """
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]  # accepted after the command as well
    # A shell leaves a quoted ~ as it is.
    arguments = [str(Path(text).expanduser()) if text.startswith("~/") else text for text in arguments]
    quiet_libraries()
    try:
        code = app(list(arguments), standalone_mode=False, prog_name="fedthorax")
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = EXIT_SIGNAL + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else the interpreter's last flush fails once more
        return EXIT_ERROR  # as typer does where it meets a broken pipe itself
    except Exception as error:
        if debug:
            traceback.print_exc()
        # NotImplementedError is a RuntimeError to Python, but no mistake of a person.
        if isinstance(error, (ValueError, OSError, RuntimeError)) and not isinstance(error, NotImplementedError):
            print(f"error: {_message(error)}", file=sys.stderr)
            return EXIT_ERROR
        hint = "" if debug else " (run again with --debug for the traceback)"
        print(f"internal error: {type(error).__name__}: {error}{hint}", file=sys.stderr)
        return EXIT_INTERNAL
    if code == EXIT_SIGNAL + signal.SIGINT:
        print("interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _message(error: Exception) -> str:
    """The error's text; what the operating system says is put as `path: reason`."""
    if isinstance(error, OSError) and error.strerror:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        return ": ".join([*(" -> ".join(names),) * bool(names), error.strerror])
    return str(error) or type(error).__name__


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A polite kill ends a command as Ctrl-C does, through whatever handles that, so that what it started ends too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name outside the terminal's encoding must not end a run
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # not where nohup ignores it
            signal.signal(number, _interrupt)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
