"""Who may import whom: the rooms of the house, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("client", "common", "server", "simulations")
ALLOWED = {
    "common": {"common"},
    "client": {"client", "common"},
    "server": {"server", "common"},
    "simulations": {"simulations", "client", "server", "common"},
    "fedthorax/cli": {"cli", "client", "common", "server", "simulations"},
    "fedthorax/client_app.py": {"client"},
    "fedthorax/server_app.py": {"server"},
    "fedthorax/__init__.py": set(),
}
HEAVY = {"tensorflow", "keras"}
MAY_START_WITH_TENSORFLOW = ("common/model/", "common/training/", "common/release/", "common/leakage/")
# Inside common nobody imports upwards: each package knows those before it.
ORDER_IN_COMMON = (
    "ground",
    "page",
    "issues",
    "algorithms",
    "config",
    "wire",
    "masking",
    "privacy",
    "records",
    "pixels",
    "hospital",
    "pairing",
    "metrics",
    "model",
    "training",
    "record",
    "messages",
    "disclosure",
    "check",
    "report",
    "release",
    "leakage",
    "watch",
    "replay",
    "consortium",
)


def _place(path: str) -> str:
    """The entry of ALLOWED that holds for a file."""
    return next(place for place in ALLOWED if path == place or path.startswith(f"{place}/"))


def _imports(*nodes: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import below the nodes; ``from a import b`` gives ``a.b``."""
    for top in nodes:
        for node in ast.walk(top):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                dots = "." * node.level
                yield from ((node.lineno, f"{dots}{node.module or ''}.{alias.name}") for alias in node.names)


def _at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when the module is imported: no function bodies, nothing under TYPE_CHECKING."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If):
            typing_only = ast.unparse(node.test).endswith("TYPE_CHECKING")
            found += _at_import(node.orelse if typing_only else node.body + node.orelse)
        elif isinstance(node, (ast.ClassDef, ast.With, ast.Try)):
            found += _at_import(node.body)
            if isinstance(node, ast.Try):
                found += _at_import([*node.orelse, *node.finalbody, *(s for h in node.handlers for s in h.body)])
        else:
            found.append(node)
    return found


def violations(path: str, source: str) -> list[str]:
    """The imports in ``source`` that a file at ``path`` (from the root, with slashes) may not have."""
    tree = ast.parse(source)
    allowed, found = ALLOWED[_place(path)], []
    for line, name in _imports(tree):
        first, *rest = name.split(".")
        if first in ROOMS:
            found.append(f"{path}:{line}: {name}: say fedthorax.{first}")
        elif not first:
            found.append(f"{path}:{line}: {name}: relative imports hide which room is meant")
        elif first == "fedthorax" and rest and rest[0] in {*ROOMS, "cli"} and rest[0] not in allowed:
            found.append(f"{path}:{line}: {name}: {_place(path)} may not know {rest[0]}")
            continue
        if path.startswith("common/") and first == "fedthorax" and rest[:1] == ["common"] and len(rest) > 1:
            here, there = path.split("/")[1].removesuffix(".py"), rest[1]
            if here in ORDER_IN_COMMON and ORDER_IN_COMMON.index(there) > ORDER_IN_COMMON.index(here):
                found.append(f"{path}:{line}: {name}: common/{here} may not know common/{there}, which stands above it")
    if path.endswith("__init__.py") or not path.startswith(MAY_START_WITH_TENSORFLOW):
        found += [
            f"{path}:{line}: {name}: TensorFlow is imported where it is used, not with the module"
            for line, name in _imports(*_at_import(tree.body))
            if name.split(".")[0] in HEAVY
        ]
    return found


def _files() -> list[str]:
    folders = [*ROOMS, "fedthorax"]
    return sorted(p.relative_to(ROOT).as_posix() for folder in folders for p in (ROOT / folder).rglob("*.py"))


def test_every_package_of_common_has_its_place() -> None:
    packages = {path.split("/")[1].removesuffix(".py") for path in _files() if path.startswith("common/")}
    assert packages - {"__init__"} == set(ORDER_IN_COMMON)


def test_every_room_knows_only_whom_it_may_know() -> None:
    files = _files()
    assert len(files) > 30
    assert [text for path in files for text in violations(path, (ROOT / path).read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        ("client/site.py", "from fedthorax.server.app import app", "client/site.py:1: fedthorax.server.app.app"),
        ("server/a.py", "def f():\n    import fedthorax.client.app", "server/a.py:2: fedthorax.client.app"),
        ("common/a.py", "from fedthorax import simulations", "common/a.py:1: fedthorax.simulations"),
        ("simulations/a.py", "import fedthorax.cli.main", "simulations/a.py:1: fedthorax.cli.main"),
        ("client/a.py", "import common.ground", "client/a.py:1: common.ground: say fedthorax.common"),
        (
            "common/pixels/a.py",
            "from ..seeds import derive_seed",
            "common/pixels/a.py:1: ..seeds.derive_seed: relative",
        ),
        ("common/pixels/a.py", "try:\n    import keras\nexcept ImportError:\n    pass", "common/pixels/a.py:2: keras"),
        (
            "common/config/a.py",
            "from fedthorax.common.check import check",
            "common/config/a.py:1: fedthorax.common.check",
        ),
        ("common/model/__init__.py", "import tensorflow as tf", "common/model/__init__.py:1: tensorflow"),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str, expected: str) -> None:
    found = violations(path, source)
    assert len(found) == 1
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("simulations/a.py", "from fedthorax.client.app import app\nfrom fedthorax.server.app import app as other"),
        ("fedthorax/cli/a.py", "import fedthorax.simulations.simulate"),
        ("common/training/a.py", "import tensorflow as tf"),
        ("client/a.py", "def f():\n    import tensorflow"),
        ("client/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import keras"),
        ("client/a.py", "import fedthorax"),
    ],
)
def test_an_allowed_import_is_left_alone(path: str, source: str) -> None:
    assert violations(path, source) == []
