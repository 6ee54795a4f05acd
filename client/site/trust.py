"""Whom a hospital masks with: the roster that a person here has looked at, and the hospital's own identity."""

from dataclasses import dataclass
from pathlib import Path

from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import SiteSettings
from fedthorax.common.consortium.roster import RosterFile, public_identity, read_identity, read_roster
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.owner_only import hand_to_owner
from fedthorax.common.masking.keys import Trust


@dataclass(frozen=True)
class Pinned:
    """The roster that is trusted from now on, and whether it was trusted before."""

    roster: RosterFile
    known: bool


def pin(folder: SiteFolder, settings: SiteSettings, file: Path, fingerprint: str | None = None) -> Pinned:
    """Trust the roster in ``file``. ValueError where it is another consortium's, lacks this hospital or has another
    identity for it, or where its fingerprint is not the one that was heard."""
    roster = read_roster(file)
    if roster.consortium != settings.consortium:
        raise ValueError(f"{file}: it is of {roster.consortium}, not of {settings.consortium}")
    own = public_identity(read_identity(folder.identity))
    if roster.hospitals.get(settings.name) != own:
        what = "lacks this hospital" if settings.name not in roster.hospitals else "has another identity for it"
        raise ValueError(f"{file}: it {what}; send the lead the registration that `fedthorax site renew` makes")
    if fingerprint is not None and fingerprint.split() != roster.fingerprint.split():
        raise ValueError(f"{file}: its fingerprint is {roster.fingerprint}, not {fingerprint}: it is another roster")
    before = trusted(folder)
    write_json(folder.roster, roster)
    hand_to_owner(folder.roster)
    return Pinned(roster, before == roster)


def trusted(folder: SiteFolder) -> RosterFile | None:
    """The roster that this hospital trusts; None before the first."""
    return read_roster(folder.roster) if folder.roster.is_file() else None


def trust_of(folder: SiteFolder) -> Trust:
    """For the worker. ValueError where nobody has looked at a roster yet."""
    roster = trusted(folder)
    if roster is None:
        raise ValueError(
            "this hospital trusts no roster yet, and updates are masked: `fedthorax site trust roster.json`"
        )
    return Trust(read_identity(folder.identity), roster.hospitals)
