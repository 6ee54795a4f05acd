"""The kinds of texts and numbers that messages are made of, each with its bounds; texts lose what moves a cursor."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from fedthorax.common.ground import leaving

MOST_CHARACTERS = 2000


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """``text`` as a terminal, a log line or a page can show it; a longer one is cut and says so.

    Control characters, line breaks and lone surrogates become spaces. Format characters, which are not seen, go: with
    the bidirectional ones a text can show something else than it says.
    """
    shown = "".join(map(_shown, text[: most + 1]))  # what is cut off anyway is not looked at
    return shown if len(text) <= most else f"{shown[: most - 1]}…"


def _shown(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    kind = unicodedata.category(character)
    return "" if kind == "Cf" else " " if kind in ("Cc", "Cs", "Zl", "Zp") else character


LARGEST_COUNT = 1 << 40  # of images, pairs, bytes: above what there is, and far from where arithmetic breaks


def _line(text: str) -> str:
    return one_line(text)


Line = Annotated[str, AfterValidator(_line)]  # cut where it is too long
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Mark = Annotated[str, Field(max_length=200), AfterValidator(_line)]  # an id or a hash, empty where there is none
Digest = Annotated[str, Field(max_length=64)]  # compared, and not shown
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[float, Field(ge=0, le=1e12)]
Round = Annotated[int, Field(ge=0, le=1_000_000)]

# The same with the rule of what may leave a hospital.
Known = Annotated[Name, leaving.Name()]
Reason = Annotated[Line, leaving.Words()]
Shown = Annotated[Count, leaving.Shown(alone=True)]
Done = Annotated[Count, leaving.Machine("work done")]
Weight = Annotated[Count, leaving.Weight()]
Behind = Annotated[Count | None, leaving.Behind(alone=True)]
Checked = Annotated[Mark, leaving.Identifier()]
