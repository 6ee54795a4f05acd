"""The commands in the code blocks of README and docs are there, with the options that are printed, and each is run by a
test with the default network (tests/e2e/test_documented_*.py), by another test, or says why not. None is run here."""

import importlib.util
import re
import tomllib
from pathlib import Path

import click
from typer.main import get_command

from fedthorax.cli.main import app
from fedthorax.simulations.partition import PartitionPlan

from .documented import ELSEWHERE, NOT_RUN, PAGES, ROOT, documented, missing, owned


def options(line: str) -> set[str]:
    return {word.partition("=")[0] for word in line.split() if word.startswith("--")}


def test_every_command_of_the_documents_is_one_with_these_options() -> None:
    inline = re.findall(r"`(fedthorax [a-z][^`]*)`", "".join(re.sub(r"\s+", " ", p.read_text()) for p in PAGES))
    commands = [line for line in (*documented(), *inline) if line.startswith("fedthorax ")]
    assert len(commands) > 160
    for line in commands:
        found: click.Command = get_command(app)
        for word in line.split()[1:]:
            if not isinstance(found, click.Group) or word.startswith("-") or word == "…":
                break
            assert word in found.commands, line
            found = found.commands[word]
        known = {name for parameter in found.params for name in parameter.opts} | {"--help", "--version"}
        assert options(line) - known == set(), line


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    run = owned()
    excused = (*NOT_RUN, *ELSEWHERE)
    assert [line for line in documented() if line not in run and not line.startswith(excused)] == []
    assert [line for line in run if line not in documented()] == []
    assert [why for why in excused if not any(line.startswith(why) for line in documented())] == []
    for line, (file, words) in ELSEWHERE.items():
        assert words in (ROOT / "tests" / file).read_text(encoding="utf-8"), line


def test_what_else_the_documents_start_is_there_with_these_options() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in documented():
        words = line.split()
        if words[0] == "make":
            assert f"\n{words[1]}:" in makefile, line
        elif words[:2] == ["pip", "install"]:
            assert re.findall(r"\[(\w+)\]", line)[0] in project["optional-dependencies"], line
        elif words[:3] == ["python", "-m", "pytest"]:
            assert all((ROOT / word).exists() for word in words if word.startswith("tests/")), line
        elif words[0] == "python" and words[1].startswith("benchmarks/"):
            source = (ROOT / words[1]).read_text(encoding="utf-8")
            assert [name for name in options(line) - {"--set"} if f'"{name}"' not in source] == [], line


def test_make_natural_deals_out_by_rules_that_a_partition_has() -> None:
    spec = importlib.util.spec_from_file_location("natural", ROOT / "benchmarks" / "natural.py")
    assert spec is not None
    assert spec.loader is not None
    natural = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(natural)
    plans = {name: PartitionPlan(out=Path("dealt"), **plan) for name, plan in natural.plans(Path("real")).items()}
    assert plans["nih"].column_most
    assert plans["kaggle"].sizes == (3, 1)


def test_a_shown_line_is_found_whatever_its_numbers_are_and_another_word_is_missed() -> None:
    line = "fedthorax server renew"
    assert documented()[line].shown == ("the server's certificate is good for 396 days",)
    assert missing(line, "first\nthe server's  certificate is good for 12 days\n") == []
    assert missing(line, "the server's certificate is good for ten days") == [*documented()[line].shown]
    assert missing(line, "") == [*documented()[line].shown]
