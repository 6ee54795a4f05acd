"""Names of hospitals that are also names of folders."""

from collections.abc import Sequence

from fedthorax.common.ground.names import fault_of_name

_FIRST = ("north", "south", "east")


def hospital_names(hospitals: int | Sequence[str]) -> tuple[str, ...]:
    """The given names, or that many default ones: north, south, east, hospital-04, …

    ``ValueError`` for a name that cannot be a folder beside ``central``, and for a repeated one. Names that differ
    only in case count as repeated, because some file systems take them for one folder.
    """
    if isinstance(hospitals, int):
        if hospitals < 1:
            raise ValueError(f"hospitals must be at least 1, got {hospitals}")
        return tuple(_FIRST[i] if i < len(_FIRST) else f"hospital-{i + 1:02d}" for i in range(hospitals))
    names = tuple(hospitals)
    if not names:
        raise ValueError("hospitals has no name; give at least one")
    for name in names:
        fault = fault_of_name(name)
        if name.startswith(".") or any(c in name for c in '/\\"'):
            fault = 'must not begin with a dot, or hold / \\ "'
        if fault is not None:
            raise ValueError(f"hospital name {name!r} {fault}")
    if any(name.lower() == "central" for name in names):
        raise ValueError("no hospital may be called 'central': that is the folder of the server's own data")
    repeated = sorted({name for name in names if [n.lower() for n in names].count(name.lower()) > 1})
    if repeated:
        raise ValueError(f"hospital names must be distinct, but these are repeated: {', '.join(repeated)}")
    return names
