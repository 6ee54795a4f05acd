"""The names of hospitals: shown to people, written into file names and into Flower's node configuration."""

import unicodedata

_FORBIDDEN = "/\\\"'`$<>:|?*="
LONGEST = 64


def checked_hospital_name(name: str) -> str:
    """``name`` if it may name a hospital; ValueError otherwise.

    Up to 64 printable characters, no spaces at the ends, no leading dot, none of the characters that mean something to
    a file system, a shell or Flower's ``--node-config``, and composed as Unicode's NFC has it.
    """
    fault = None
    if not name or len(name) > LONGEST:
        fault = f"must have 1 to {LONGEST} characters"
    elif name != name.strip() or name.startswith(".") or "  " in name:
        fault = "must not begin or end with a space, hold two in a row, or begin with a dot"
    elif any(character in _FORBIDDEN or not character.isprintable() for character in name):
        fault = f"must hold printable characters only, and none of {' '.join(_FORBIDDEN)}"
    elif name != unicodedata.normalize("NFC", name):
        fault = "must be in Unicode's composed form (NFC)"
    if fault is not None:
        raise ValueError(f"hospital name {name!r} {fault}")
    return name


def same_name(one: str, other: str) -> bool:
    """Whether a reader could take one name for the other: case and compatibility forms do not count."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
