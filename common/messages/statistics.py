"""What one hospital tells in numbers: the form in which it leaves the building."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Known, Reason, Shown, one_line
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.metrics.suppression import rounded
from fedthorax.common.records.attributes import AGE_BANDS

SEXES = ("F", "M")
SIZE_BANDS = ("below 256", "256 to 511", "512 to 1023", "1024 to 2047", "2048 and more")
UNKNOWN = "unknown"
OTHER = "other"  # views or scanners of few patients, together
KNOWN_CELLS = (*SEXES, *AGE_BANDS, *SIZE_BANDS, "PA", "AP", "LL", "present", "absent", UNKNOWN, OTHER)
"""Names that say nothing of a hospital."""
NUM_BINS = 32
BIN_WIDTH = 256 // NUM_BINS

MOST_TOKENS = 1_000_000  # of a kind

_OFF_BY_ROUNDING = 0.01  # 32 shares of four decimals each

Images = Shown
Share = Annotated[float, Field(ge=0, le=1), leaving.Machine("grey levels of enough patients together")]
Token = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$"), leaving.Identifier()]
Cell = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(one_line), leaving.SharedName()]


class Table(Frozen):
    """Images by cell; None is a hidden count, and ``reason`` then says why there are some."""

    cells: Annotated[dict[Cell, Images | None], Field(max_length=1000)]
    reason: Reason | None = None

    def consistent(self) -> bool:
        return any(value is None for value in self.cells.values()) == (self.reason is not None)


class Pair(Frozen):
    """X-rays that show both findings; None with its ``reason`` where that is hidden or unknown."""

    findings: tuple[Known, Known]
    images: Images | None
    reason: Reason | None = None


class Modality(Frozen):
    """All images of one modality. ``intensity`` are the shares of ``NUM_BINS`` equal bins of grey levels 0 to 255.

    ``halves_distance`` is the mean Jensen-Shannon distance of the intensities of random halves of the site's own
    patients: how far apart two samples of one hospital lie by chance.
    """

    images: Images | None
    patients: Images | None
    sex: Table
    age: Table
    shorter_side: Table
    view: Table
    scanner: Table
    intensity: Annotated[tuple[Share, ...], Field(min_length=NUM_BINS, max_length=NUM_BINS)] | None
    halves_distance: Share | None
    reasons: Annotated[dict[Known, Reason], Field(max_length=10)]


class Tokens(Frozen):
    """Keyed hashes of the site's images, sorted and filled up with random ones; ``key_check`` tells keys apart.

    ``xray`` and ``ct`` are of the pixels, ``xray_alike`` and ``ct_alike`` of what the picture shows.
    """

    key_check: Token
    xray: Annotated[tuple[Token, ...], Field(max_length=MOST_TOKENS)]
    ct: Annotated[tuple[Token, ...], Field(max_length=MOST_TOKENS)]
    xray_alike: Annotated[tuple[Token, ...], Field(max_length=MOST_TOKENS)]
    ct_alike: Annotated[tuple[Token, ...], Field(max_length=MOST_TOKENS)]


class SiteStatistics(Frozen):
    """Everything that leaves a hospital when it is asked for statistics."""

    policy: Annotated[PrivacyConfig, leaving.Machine("smallest count and rounding")]
    xray: Modality
    ct: Modality
    findings: Annotated[dict[Known, Table], Field(max_length=1000)]
    cancer_classes: Table
    co_occurrence: Annotated[tuple[Pair, ...], Field(max_length=500_000)]
    duplicates: Tokens | None
    duplicates_reason: Reason | None = None

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Every table with its place in words."""
        for words, modality in (("X-ray", self.xray), ("CT", self.ct)):
            for name in ("sex", "age", "shorter_side", "view", "scanner"):
                yield f"{words} {name}", getattr(modality, name)
        yield from ((f"finding {name}", table) for name, table in self.findings.items())
        yield "cancer classes", self.cancer_classes


def check_policy(statistics: SiteStatistics, floor: PrivacyConfig) -> None:
    """ValueError where a site shows what its own policy or the consortium's floor hides, or hides without a reason.

    The hospital itself has to hold the policy; this is the second pair of eyes, so that a mistake there is not spread.
    """
    policy = statistics.policy
    for key in ("smallest_count", "round_to"):
        if getattr(policy, key) < getattr(floor, key):
            raise ValueError(
                f"the site's policy has {key} {getattr(policy, key)}, but the consortium asks for at least "
                f"{getattr(floor, key)} (data.privacy.{key})"
            )
    for place, table in statistics.tables():
        if not table.consistent():
            raise ValueError(f"the table of {place} must have a reason exactly where it has a hidden count")
        for name, images in table.cells.items():
            _check_count(images, f"the table of {place}, {name}", policy)
    for pair in statistics.co_occurrence:
        place = f"the pair {' and '.join(pair.findings)}"
        if (pair.images is None) != (pair.reason is not None):
            raise ValueError(f"{place} must have a reason exactly where its count is hidden")
        _check_count(pair.images, place, policy)
    for words, modality in (("X-rays", statistics.xray), ("CT slices", statistics.ct)):
        _check_count(modality.images, f"the number of {words}", policy)
        _check_count(modality.patients, f"the number of patients with {words}", policy)
        if modality.intensity is not None and abs(sum(modality.intensity) - 1) > _OFF_BY_ROUNDING:
            raise ValueError(f"the intensities of {words} are shares of {sum(modality.intensity):g}, expected 1")


def _check_count(images: int | None, place: str, policy: PrivacyConfig) -> None:
    if images is None or images == 0:
        return
    if images < rounded(policy.smallest_count, policy) or images % policy.round_to:
        raise ValueError(
            f"{place} is {images}, which the site's policy does not allow (smallest count {policy.smallest_count}, "
            f"rounded to {policy.round_to})"
        )
