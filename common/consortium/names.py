"""The names of hospitals: shown to people, written into file names and into Flower's node configuration."""

import unicodedata

from fedthorax.common.ground.names import fault_of_name

_FORBIDDEN = "/\\\"'`$<>:|?*="
LONGEST = 64


def checked_hospital_name(name: str) -> str:
    """``name`` if it may name a hospital; ValueError otherwise.

    Up to 64 characters as ``fault_of_name`` wants them, no leading dot, none of the characters that mean something to a
    file system, a shell or Flower's ``--node-config``, and composed as Unicode's NFC has it.
    """
    fault = None
    if not name or len(name) > LONGEST:
        fault = f"must have 1 to {LONGEST} characters"
    elif name != name.strip() or name.startswith(".") or "  " in name:
        fault = "must not begin or end with a space, hold two in a row, or begin with a dot"
    elif any(character in _FORBIDDEN for character in name):
        fault = f"must hold none of {' '.join(_FORBIDDEN)}"
    elif name != unicodedata.normalize("NFC", name):
        fault = "must be in Unicode's composed form (NFC)"
    fault = fault or fault_of_name(name)
    if fault is not None:
        raise ValueError(f"hospital name {name!r} {fault}")
    return name
