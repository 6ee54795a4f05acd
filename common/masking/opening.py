"""What opens a masked round: who takes part with which keys, from which model. Server and hospitals work out the rest
from it alike: the context, and which parts of the model are summed together.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.masking.keys import Hex32, RunKey
from fedthorax.common.masking.masks import context_of
from fedthorax.common.masking.words import Domain, Group, wide_places

MOST_HOSPITALS = 200  # shares grow with the square


class Opening(Frozen):
    """``nonce`` is new for each opening, ``model`` the segment_sha256 of ALL segments, also of those not sent, ``keys``
    those of every hospital that is asked, by name."""

    nonce: Hex32
    model: Annotated[dict[str, Hex32], Field(max_length=64)]
    keys: Annotated[dict[str, RunKey], Field(max_length=MOST_HOSPITALS)]

    def context(self, run: str, number: int, experiment: str, phase: int, learning_rate: float) -> str:
        """``experiment`` is the digest of the experiment, ``number`` the round."""
        keys = {site: told.model_dump(mode="json") for site, told in self.keys.items()}
        return context_of([run, number, self.nonce, experiment, phase, learning_rate, self.model, keys])

    def contributors(self, part: Part, findings: Sequence[str]) -> tuple[str, ...]:
        """The hospitals that said that something stands behind the part there."""
        name = part.count if part.position is None else findings[part.position]
        return tuple(sorted(site for site, told in self.keys.items() if name in told.contributes))


def threshold(hospitals: int) -> int:
    """Shares that give a key back, of so many ``hospitals`` in the experiment. Two sums that differ would need as many
    hospitals to say of one that it answered as to say that it dropped out: more than there are."""
    return 2 * hospitals // 3 + 1


def domains_of(
    opening: Opening,
    parts: Sequence[Part],
    sizes: Mapping[str, int],
    statistics: Mapping[str, Sequence[slice]],
    findings: Sequence[str],
    by_branch: bool,
    smallest: int,
) -> tuple[Domain, ...]:
    """The parts that at least ``smallest`` hospitals contribute to, put together where the same ones do. By branch
    these mask them, else all. A part with fewer stays as it was: its sum would be a hospital's own."""
    wide = {segment: wide_places(sizes[segment], statistics.get(segment, ())) for segment in sizes}
    found: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        behind = opening.contributors(part, findings)
        if len(behind) >= smallest:
            found.setdefault(behind, []).append(part)
    everybody = tuple(sorted(opening.keys))
    return tuple(
        Domain(Group(members=behind if by_branch else everybody, behind=behind), tuple(own), sizes, wide)
        for behind, own in found.items()
    )
