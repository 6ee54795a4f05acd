"""What every command has in common: speed of the start, errors, exit statuses, output."""

import json
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax import __version__
from fedthorax.cli import main as cli
from fedthorax.cli.output import console
from fedthorax.common.config.load import absolute, load_experiment, parse_experiment

COMMANDS = (
    "simulate", "train", "evaluate", "predict", "phantom", "partition", "report", "replay", "watch", "config",
)  # fmt: skip


def test_help_does_not_wait_for_tensorflow_or_any_other_heavy_library(fedthorax_command: list[str]) -> None:
    program = (
        "import sys\nfrom fedthorax.cli.main import run\nassert run(['simulate', '--help']) == 0\n"
        "heavy = {'tensorflow', 'keras', 'flwr', 'ray', 'matplotlib', 'sklearn', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_within_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"  Example:\n    fedthorax {command}" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "\\[" not in text


@pytest.mark.parametrize("group", [(), ("weights",), ("server",), ("site",)])
def test_a_list_of_commands_tells_each_whole_within_80_columns(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.run([*group, "--help"]) == 0
    told = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert len(told) > 2
    assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in told)


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"fedthorax {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulat"], "No such command 'simulat'"),
        (["simulate"], "Usage: fedthorax simulate"),
        (["predict", "m.keras"], "give --xray, --ct, or both"),
        (["predict", "m.keras", "--xray", "x", "--ct", "c", "--csv", "--json"], "--csv and --json exclude each other"),
        (["config", "--set", "seed=1"], "--set and --flower need a FILE"),
        (["phantom", "out", "--hospitals", "0"], "'--hospitals'"),
        ([], "Usage: fedthorax"),
    ],
)
def test_a_usage_error_exits_with_2_on_stderr(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("a: expected b, got c"), 1, "error: a: expected b, got c"),
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 1, "error: x.csv: No such file or directory"),
        (FileExistsError("runs/x already holds a run"), 1, "error: runs/x already holds a run"),
        (RuntimeError("round 2 needs 3 hospitals"), 1, "error: round 2 needs 3 hospitals"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (TypeError("x"), 70, "internal error: TypeError: x (run again with --debug for the traceback)"),
        (NotImplementedError("x"), 70,
         "internal error: NotImplementedError: x (run again with --debug for the traceback)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_on_stderr_and_an_exit_status(
    error: BaseException,
    status: int,
    line: str,
    experiment_file: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("fedthorax.cli.config.load_experiment", fail)
    assert cli.run(["config", str(experiment_file())]) == status
    output = capsys.readouterr()
    assert output.err.strip() == line
    assert output.out == ""


@pytest.mark.parametrize("position", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(position: int, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["config", "nowhere.yaml"]
    arguments.insert(position, "--debug")
    assert cli.run(arguments) == 1
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert text.strip().splitlines()[-1].startswith("error: nowhere.yaml: no such file")


def test_every_problem_of_a_file_has_a_line_of_its_own(
    experiment_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["config", str(experiment_file()), "--set", "seed=-1", "--set", "model.dropout=x"]) == 1
    assert capsys.readouterr().err == (
        "error: --set: seed: expected a number of at least 0, got -1\n"
        "--set: model.dropout: expected a number, got 'x'\n"
    )


def test_a_reader_that_goes_away_is_no_error(fedthorax_command: list[str]) -> None:
    with subprocess.Popen(
        [*fedthorax_command, "config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


def test_config_prints_a_file_that_gives_the_same_experiment(
    experiment_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment_file()
    expected = load_experiment(path, ["seed=3"])
    assert cli.run(["config", str(path), "--set", "seed=3"]) == 0
    assert load_experiment(experiment_file(capsys.readouterr().out)) == expected


def test_config_json_is_one_object_and_nothing_else_on_stdout(
    experiment_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = experiment_file()
    assert cli.run(["config", str(path), "--json", "--flower", "run.toml"]) == 0
    output = capsys.readouterr()
    assert parse_experiment(output.out) == load_experiment(path)
    assert output.err == "wrote run.toml: flwr run . --run-config run.toml\n"
    assert cli.run(["config", "--json"]) == 0
    assert "training" in json.loads(capsys.readouterr().out)["properties"]


def test_the_file_for_flower_holds_the_absolute_experiment_whatever_its_names(
    experiment_file: Callable[..., Path],
) -> None:
    path = experiment_file()
    odd = 'data.central.ct="it\'s \\\\ \\u007f \\u20ac \\" tumour"'
    assert cli.run(["config", str(path), "--set", odd, "--flower", "run.toml"]) == 0
    content = tomllib.loads(Path("run.toml").read_text(encoding="utf-8"))
    assert list(content) == ["experiment"]
    assert parse_experiment(content["experiment"]) == absolute(load_experiment(path, [odd]))


def test_a_file_is_plain_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output = console()
    output.print("[bold red]x[/] " + "word " * 40)
    assert capsys.readouterr().out == "x " + "word " * 40 + "\n"


@pytest.mark.parametrize(
    ("number", "before"),
    [
        (signal.SIGINT, "default_int_handler"),
        (signal.SIGTERM, "default_int_handler"),
        (signal.SIGTERM, "SIG_IGN"),  # in the background of a shell
        (signal.SIGHUP, "default_int_handler"),
    ],
)
def test_a_polite_kill_ends_a_command_as_ctrl_c_does(number: signal.Signals, before: str) -> None:
    program = (
        "import signal, sys, time\nfrom fedthorax.cli import config, main\n"
        # A shell starts its background jobs with SIGINT ignored, nohup with SIGHUP: these tests perhaps among them.
        f"signal.signal(signal.SIGINT, signal.{before})\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "def wait(*_):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "config.load_experiment = wait\nsys.argv = ['fedthorax', 'config', 'x.yaml']\nmain.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stderr.read() == "interrupted\n"
        assert process.wait() == 130
