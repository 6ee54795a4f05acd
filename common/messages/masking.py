"""What travels for a masked round: keys and sealed shares, never a value of one hospital."""

from typing import Annotated, Literal

from pydantic import Field

from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Known, Name
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.masking.hospital import Masked
from fedthorax.common.masking.keys import Hex32
from fedthorax.common.masking.opening import MOST_HOSPITALS
from fedthorax.common.masking.shares import Kept
from fedthorax.common.messages.message import Task

_MOST_DOMAINS = 1000
_Number = Annotated[int, Field(ge=0, le=_MOST_DOMAINS), leaving.Machine("number of a part of the model")]
_Sealed = Annotated[str, Field(max_length=1 << 21, pattern=r"^([0-9a-f]{2})*$"), leaving.Sealed()]
_Share = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,33}$"), leaving.Sealed()]


class Committed(Frozen):
    """A commitment to a key: the hospital's own in a domain, or the one that it has in common with ``other``."""

    domain: _Number
    other: Known | None
    commitment: Hex32


class SealedShares(Frozen):
    """What is dealt to ``hospital``, which alone can open it."""

    hospital: Known
    sealed: _Sealed


class MaskedTold(Frozen):
    """Goes with a masked update, whose words are packed segments."""

    context: Hex32
    commitments: Annotated[tuple[Committed, ...], Field(max_length=_MOST_DOMAINS * MOST_HOSPITALS)]
    shares: Annotated[tuple[SealedShares, ...], Field(max_length=MOST_HOSPITALS)]

    @classmethod
    def of(cls, masked: Masked) -> "MaskedTold":
        return cls(
            context=masked.context,
            commitments=tuple(
                Committed(domain=domain, other=other or None, commitment=text)
                for (domain, _, other), text in masked.commitments.items()
            ),
            shares=tuple(SealedShares(hospital=site, sealed=text) for site, text in masked.shares.items()),
        )


class ShareTold(Frozen):
    """A share of the key of ``dealer``'s own mask in a domain, or of the one that it has in common with ``other``."""

    domain: _Number
    dealer: Known
    other: Known | None
    share: _Share


class Unmasked(Frozen):
    shares: Annotated[tuple[ShareTold, ...], Field(max_length=_MOST_DOMAINS * MOST_HOSPITALS)]

    @classmethod
    def of(cls, shares: "dict[Kept, str]") -> "Unmasked":
        return cls(
            shares=tuple(
                ShareTold(domain=domain, dealer=dealer, other=other or None, share=text)
                for (domain, dealer, other), text in shares.items()
            )
        )

    def by_slot(self) -> dict[Kept, str]:
        return {(each.domain, each.dealer, each.other or ""): each.share for each in self.shares}


class UnmaskTask(Task):
    """Give the shares that unmask the sum of the hospitals that are ``taken``; ``dealt`` is what each of them has dealt
    to this one, sealed."""

    kind: Literal["unmask"] = "unmask"
    context: Hex32
    taken: Annotated[tuple[Name, ...], Field(max_length=MOST_HOSPITALS)]
    dealt: Annotated[dict[Name, Annotated[str, Field(max_length=1 << 21)]], Field(max_length=MOST_HOSPITALS)]
