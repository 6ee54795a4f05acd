"""The commands in the code blocks of README and docs, and what is printed below them."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_PROGRAMS = "fedthorax|make|python|pip|flwr"
_ELLIPSES = ("...", "…")

NOT_RUN = {
    "python benchmarks/": "hours; that it starts and knows these options is tested",
    "python -m pytest ": "a test itself",
    "pip install ": "needs a registry",
    "make test-browser": ".ci/run runs it",
    "fedthorax partition data/nih-128 ": "deals out 7,619 real images; the figures beside it were made with it",
    "make natural": "deals out 13,000 real images; the figures beside it were made with it",
}
"""By its beginning, why no test runs a command."""

ELSEWHERE = {
    # what they measure: tests/common/leakage
    "fedthorax leakage runs/NAME": ("cli/test_leakage.py", '"leakage", "runs/mine"'),
    "fedthorax leakage my.yaml": ("cli/test_leakage.py", '"leakage", "tiny.yaml"'),
    "fedthorax site leakage ": ("cli/test_leakage.py", '"site", "leakage"'),
    "fedthorax stats CONFIG --consortium ": ("e2e/conftest.py", '"stats", "tiny.yaml", "--consortium"'),
    "fedthorax stats configs/statistics.yaml": ("e2e/test_real_statistics.py", '"statistics.yaml"'),
}
"""By its beginning, which other test runs a command, with other names and a small network, and by what one sees it."""


@dataclass(frozen=True)
class Command:
    """``line`` without prompt, remark and continuation; ``shown`` the lines that stand below it as its output."""

    line: str
    page: str
    shown: tuple[str, ...] = ()


def documented() -> dict[str, Command]:
    """By line; where several places print a command, with what all of them show."""
    found: dict[str, Command] = {}
    for page in PAGES:
        for block in _blocks(re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))):
            prompts = any(line.startswith("$ ") for line in block)
            last: list[str] = []
            for line in block:
                match = re.match(rf"(?:\$ )?((?:{_PROGRAMS}) [a-z-].*)$", line)
                if match and (not prompts or line.startswith("$ ")):
                    last = []
                    for part in match[1].split(" && "):
                        name = re.sub(r"\s+", " ", re.split(r"   |\s#", part)[0]).strip()
                        last.append(name)
                        found.setdefault(name, Command(name, page.name))
                elif prompts and last and line.strip() not in ("", *_ELLIPSES):
                    known = found[last[-1]]
                    found[last[-1]] = Command(known.line, known.page, (*known.shown, line))
    return found


def _blocks(text: str) -> list[list[str]]:
    """Fenced blocks, and paragraphs that are indented as code."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.M | re.S)
    rest = re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.M | re.S)
    indented = re.findall(r"(?:^    .*\n(?:^ *\n(?=    ))?)+", rest, flags=re.M)
    return [[re.sub(r"^    ", "", line) for line in block.splitlines()] for block in (*fenced, *indented)]


def owned() -> dict[str, list[str]]:
    """By command, the test modules that run it: those in which it is the first word of ``printed`` or ``started``."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests" / "e2e").glob("test_documented_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first = node.args[0]
                if node.func.attr in ("printed", "started") and isinstance(first, ast.Constant):
                    found.setdefault(str(first.value), []).append(file.name)
    return found


def missing(line: str, output: str) -> list[str]:
    """The lines shown below the command ``line`` that do not stand in ``output``: other numbers, hashes, times and
    widths of columns are the same line, ``…`` stands for anything, and the order is not looked at, since hospitals
    answer in any."""
    told = [re.sub(r"\s+", " ", row).strip() for row in output.splitlines()]
    return [row for row in documented()[line].shown if not any(_pattern(row).fullmatch(one) for one in told)]


_VARYING = (
    (r"SHA256:\S+", r"SHA256:\\S+"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b", r"[0-9a-f]{12,}"),
    (r"/srv/", r"/.*"),
    (r"\S+:\d{4,5}\b", r"\\S+:\\d+"),
    (r"(?<![\w.])[-+]?\d[\d.,:T-]*", r"(?:[-+]?\\d[\\d.,:T-]*|-)"),
    (r"(?<= )-(?= |$)", r"(?:[-+]?\\d[\\d.,:T-]*|-)"),
    (r"…", r".*"),
    (r" ", r" ?"),
)


def _pattern(shown: str) -> re.Pattern[str]:
    """The first of ``_VARYING`` that fits at a place says what may stand there."""
    text, made = re.sub(r"\s+", " ", shown).strip(), ""
    kinds = re.compile("|".join(f"(?P<k{number}>{kind})" for number, (kind, _) in enumerate(_VARYING)))
    end = 0
    for match in kinds.finditer(text):
        number = int(str(match.lastgroup)[1:])
        made += re.escape(text[end : match.start()]) + _VARYING[number][1].replace("\\\\", "\\")
        end = match.end()
    return re.compile(made + re.escape(text[end:]))
