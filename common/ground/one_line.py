"""Texts that come from outside: without what moves a cursor, breaks a line or turns writing round, and not endless."""

import unicodedata

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
