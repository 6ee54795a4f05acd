"""Names that people read and compare: of hospitals, findings, classes. What looks like another name must be found out,
and no name may mean something to a program that is given it."""

import re
import unicodedata
from functools import cache

from confusable_homoglyphs.categories import unique_aliases
from confusable_homoglyphs.confusables import confusables_data

# Printable to Python, and nothing to the eye: Unicode's default-ignorable characters, fillers, the empty Braille cell.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)
_MOST_MARKS = 3  # as no script that is written needs more on one letter; a heap covers the lines around it
_FORMULA = "-+@="  # a spreadsheet would compute it, a command take it for an option
_MARKS_OF_LETTERS = 200  # combining classes: accents above and below, which are overlooked; not vowels
_ANY = frozenset({"COMMON", "INHERITED"})
# Scripts that are written together (Unicode's report 39, "highly restrictive").
_TOGETHER = tuple(
    frozenset(scripts) | {"LATIN"}
    for scripts in (("HAN", "HIRAGANA", "KATAKANA"), ("HAN", "HANGUL"), ("HAN", "BOPOMOFO"))
)


def fault_of_name(name: str) -> str | None:
    """Why ``name`` must not be given to anything, as the end of a sentence; None where it may."""
    if not name or name != name.strip():
        return "must not be empty, nor begin or end with a space"
    if unicodedata.normalize("NFKC", name[0])[0] in _FORMULA:  # some spreadsheets compute after a wide one, too
        return f"must not begin with one of {' '.join(_FORMULA)}: programs take that for an option or a formula"
    if _UNSEEN.search(name) or not name.isprintable():
        return "must not hold characters that nobody sees"
    marks = "".join("m" if unicodedata.category(character)[0] == "M" else "." for character in name)
    if marks.startswith("m") or "m" * _MOST_MARKS + "m" in marks:
        return f"must not begin with a combining mark, nor hold more than {_MOST_MARKS} in a row"
    scripts = frozenset(unique_aliases(name)) - _ANY
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return f"must not mix the scripts {', '.join(sorted(scripts))}: such letters pass for each other"
    return None


def same_look(one: str, other: str) -> bool:
    """Whether a reader could take one name for the other: case, accents, compatibility forms and look-alikes do not
    count."""
    return _folded(one) == _folded(other) or skeleton(one) == skeleton(other)


def skeleton(name: str) -> str:
    """The same for all names that look alike, and never shown to anybody."""
    parts = unicodedata.normalize("NFKD", name)
    bare = "".join(part for part in parts if unicodedata.combining(part) < _MARKS_OF_LETTERS)
    return "".join(map(_prototype, unicodedata.normalize("NFC", bare)))


def _folded(name: str) -> str:
    return skeleton(unicodedata.normalize("NFKC", name).casefold())


@cache
def _prototype(character: str) -> str:
    """What stands for all that look like the character: letters such as rn, which look like one, before the one."""
    character = str(unicodedata.decimal(character, character))  # another script's 1 is 1
    near = {character, *(entry["c"] for entry in confusables_data.get(character, ()))}
    alike = near | {entry["c"] for one in near for entry in confusables_data.get(one, ())}
    return min((text.strip("\u200e") for text in alike), key=lambda text: (-len(text), text))
