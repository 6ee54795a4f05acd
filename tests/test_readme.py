"""README says where things are; what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREE = README.split("## What is where")[1].split("```")[1]


def test_every_path_in_the_table_of_what_to_change_where_is_there():
    (table,) = re.findall(r"\| what \| where \|\n.*?\n\n", README, re.DOTALL)
    paths = re.findall(r"`([^`]+)`", table)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_tree_names_every_folder_and_nothing_else():
    top = re.findall(r"^(\w+)/", TREE, re.MULTILINE)
    assert [name for name in top if not (ROOT / name).is_dir()] == []
    inside = re.findall(r"^  ([\w.]+?)/?  ", TREE, re.MULTILINE)
    there = {path.name for path in (ROOT / "common").iterdir() if not path.name.startswith("__")}
    assert sorted(inside) == sorted(there)


def test_it_counts_the_strategies():
    from fedthorax.common.algorithms import TABLE

    assert {14: "Fourteen"}[len(TABLE)] in README
