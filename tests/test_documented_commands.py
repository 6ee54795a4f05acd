"""The commands in the code blocks of README and docs are there, with the options that are printed; none is run here."""

import re
import tomllib
from pathlib import Path

import click
from typer.main import get_command

from fedthorax.cli.main import app

ROOT = Path(__file__).parents[1]


def documented() -> list[str]:
    """Without prompt, remark and continuation."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
        for line in re.findall(r"^(?:    )?(?:\$ )?((?:fedthorax|make|python|pip) [a-z-].*)$", text, flags=re.M):
            found += [re.sub(r"\s+", " ", re.split(r"   |\s#", part)[0]).strip() for part in line.split(" && ")]
    return list(dict.fromkeys(found))


def options(line: str) -> set[str]:
    return {word.partition("=")[0] for word in line.split() if word.startswith("--")}


def test_every_command_of_the_documents_is_one_with_these_options() -> None:
    commands = [line for line in documented() if line.startswith("fedthorax ")]
    assert len(commands) > 60
    for line in commands:
        found: click.Command = get_command(app)
        for word in line.split()[1:]:
            if not isinstance(found, click.Group):
                break
            assert word in found.commands, line
            found = found.commands[word]
        known = {name for parameter in found.params for name in parameter.opts}
        assert options(line) - known == set(), line


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
