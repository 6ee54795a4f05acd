"""A check as lines of at most 80 columns."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedthorax.cli.tables import aligned
from fedthorax.common.check.check import SiteCheck
from fedthorax.common.check.shortcuts import Shortcut
from fedthorax.common.ground.wording import number_of
from fedthorax.common.hospital.labelled import KINDS
from fedthorax.common.issues.issue import CODES, Issue
from fedthorax.common.pixels.decode import Modality

WIDTH = 80
_EXAMPLES = 3
_MOST_KINDS = 4  # sizes, modes and scanners named before "and n more"
_MOST_PAIRS = 5


def check_lines(check: SiteCheck) -> list[str]:
    """What the folders hold, then what was found, gravest first."""
    lines = [check.target.name, "=" * min(len(check.target.name), WIDTH)]
    for modality, kind in KINDS.items():
        held = check.counts[modality]
        if held["images"]:
            lines += ["", *_holding_lines(kind, held), *_shortcut_lines(check.shortcuts, modality)]
    for issue in check.issues:
        lines += ["", *_issue_lines(check, issue)]
    return [*lines, "", *_wrapped(verdict(check), "")]


def verdict(check: SiteCheck) -> str:
    """``2 errors, 1 warning, 3 notes.`` and what they mean for a run."""
    told = ", ".join(check.level_words.values())
    return f"{told if check.issues else 'Nothing found'}. {check.meaning}"


def _issue_lines(check: SiteCheck, issue: Issue) -> list[str]:
    lines = _wrapped(f"{check.level(issue).upper()}  {issue.code}: {CODES[issue.code].title}", "", "  ")
    lines += _wrapped(issue.sentence, "  ")
    examples = issue.groups or tuple((file,) for file in issue.files)
    for group in examples[:_EXAMPLES]:
        # File names are not wrapped: they are there to be copied.
        lines += [f"    {'' if place == 0 else '= '}{name}" for place, name in enumerate(group[:_EXAMPLES])]
        lines += [f"    = {len(group) - _EXAMPLES:,} more"] if len(group) > _EXAMPLES else []
    lines += [f"    and {len(examples) - _EXAMPLES:,} more"] if len(examples) > _EXAMPLES else []
    return [*lines, *_wrapped(check.advice(issue), "  -> ", "     ")]


def _holding_lines(kind: str, held: Mapping[str, Any]) -> list[str]:
    splits = ", ".join(f"{split} {number['images']:,}" for split, number in held["splits"].items())
    lines = _wrapped(
        f"{kind}: {number_of(held['images'], 'image')}, {number_of(held['patients'], 'patient')}; split: {splits}", ""
    )
    sides = list(held["labels"])
    names = list(dict.fromkeys(name for side in sides for name in held["labels"][side]))
    if names:
        rows = [("  present, of known", *sides)]
        for name in names:
            rows.append((f"  {name}", *(_of_known(held["labels"][side].get(name)) for side in sides)))
        lines += aligned(rows)
    lines += _pair_lines(held["co_occurrence"])
    for what, tally in (*held["attributes"].items(), *((k, v) for k, v in held["files"].items() if k != "read")):
        if set(tally) - {"unknown"}:
            lines += _wrapped(f"{what}: {_tally(tally)}", "  ", "    ")
    return lines


def _pair_lines(together: Mapping[str, Mapping[str, int]]) -> list[str]:
    names = list(together)
    pairs = [
        (together[one][other], one, other)
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        if together[one][other]
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1:]))
    told = ", ".join(f"{one} + {other} {number:,}" for number, one, other in pairs[:_MOST_PAIRS])
    return _wrapped(f"most often together: {told}", "  ", "    ") if told else []


def _shortcut_lines(found: Sequence[Shortcut], modality: Modality) -> list[str]:
    ours = [shortcut for shortcut in found if shortcut.modality == modality]
    known = [shortcut for shortcut in ours if shortcut.roc_auc is not None]
    if not ours:
        return []
    if not known:
        return _wrapped(f"shortcuts: not asked, too few patients ({ours[0].reason})", "  ", "    ")
    top = max(known, key=lambda shortcut: shortcut.roc_auc or 0.0)
    low, high = top.interval or (0.0, 0.0)
    skipped = len({shortcut.label for shortcut in ours if shortcut.roc_auc is None})
    words = f"strongest shortcut: {top.by} for {top.label}, ROC-AUC {top.roc_auc:.2f} ({low:.2f} to {high:.2f})"
    words += f"; {number_of(skipped, 'label')} of too few patients not asked" if skipped else ""
    return _wrapped(words, "  ", "    ")


def _of_known(label: Mapping[str, int] | None) -> str:
    if label is None:
        return "0"
    if "absent" not in label:
        return f"{label['present']:,}"
    known = label["present"] + label["absent"]
    return f"{label['present']:,} of {known:,}" if known else "unknown"


def _tally(tally: Mapping[str, int]) -> str:
    told = [f"{name} {number:,}" for name, number in list(tally.items())[:_MOST_KINDS]]
    rest = len(tally) - _MOST_KINDS
    return ", ".join(told) + (f" and {rest:,} more" if rest > 0 else "")


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=first if rest is None else rest, break_on_hyphens=False
    )


def text(checks: Iterable[SiteCheck]) -> str:
    return "\n\n\n".join("\n".join(check_lines(check)) for check in checks)
