"""Statistics of several hospitals as text, within 80 columns."""

import textwrap
from collections.abc import Mapping
from typing import Any

from fedthorax.cli.output import PLAIN_WIDTH
from fedthorax.cli.tables import aligned
from fedthorax.common.ground.wording import counted
from fedthorax.common.report.statistics_tables import TextTable, policy_words, statistics_tables

_MAX_HEAD = 16


def statistics_lines(document: Mapping[str, Any]) -> list[str]:
    """Every table of the document, with the policy first."""
    lines = _wrapped(f"{counted(len(document['sites']), 'hospital')}; {policy_words(document)}", "")
    for table in statistics_tables(document):
        lines += ["", *table_lines(table)]
    return lines


def table_lines(table: TextTable) -> list[str]:
    """The table in as many blocks of columns as it takes to stay within the width."""
    columns = list(zip(*[("", *map(_short, table.head)), *table.rows], strict=True))
    names, others = columns[0], columns[1:]
    lines = _wrapped(table.title, "")
    block: list[tuple[str, ...]] = []
    for column in others:
        if block and max(map(len, _lines(names, [*block, column]))) > PLAIN_WIDTH:
            lines += [*_lines(names, block), ""]
            block = []
        block.append(column)
    lines += _lines(names, block)
    return lines + [line for note in table.notes for line in _wrapped(note, "  ")]


def _lines(names: tuple[str, ...], block: list[tuple[str, ...]]) -> list[str]:
    return aligned(zip(names, *block, strict=True))


def _short(name: str) -> str:
    return name if len(name) <= _MAX_HEAD else name[: _MAX_HEAD - 3] + "..."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, PLAIN_WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
