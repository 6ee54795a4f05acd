"""What single hospitals lack, for experiments: a modality, or labels that they never annotate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MODALITIES = ("xray", "ct")


@dataclass(frozen=True)
class SiteLimits:
    """``without``: modalities by hospital; ``annotates``: the only findings that a hospital annotates. A hospital that
    is not named lacks nothing."""

    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self, hospitals: Sequence[str], findings: Sequence[str]) -> None:
        """Raise ValueError for a hospital, modality or finding that there is not, or where nothing would be left."""
        for key, limits in (("without", self.without), ("annotates", self.annotates)):
            if unknown := sorted(set(limits) - set(hospitals)):
                raise ValueError(
                    f"{key} names {', '.join(unknown)}, but the hospitals are {', '.join(hospitals)}; name one of these"
                )
        for hospital, names in self.without.items():
            if wrong := sorted(set(names) - set(MODALITIES)):
                raise ValueError(f"without {hospital}: expected xray or ct, got {', '.join(wrong)}")
            if set(names) == set(MODALITIES):
                raise ValueError(f"without {hospital}: a hospital needs X-rays or CT slices; leave one of them there")
        for hospital, names in self.annotates.items():
            if wrong := sorted(set(names) - set(findings)):
                raise ValueError(
                    f"annotates {hospital}: the labels have no finding {', '.join(wrong)}; they have "
                    f"{', '.join(findings) or 'none'}"
                )
        for modality in MODALITIES:
            if self.without and not any(self.has(hospital, modality) for hospital in hospitals):
                raise ValueError(f"without: no hospital is left that has {modality}; leave {modality} out of the input")

    def has(self, hospital: str, modality: str) -> bool:
        return modality not in self.without.get(hospital, ())

    def places(self, hospitals: Sequence[str], modalities: Sequence[str]) -> tuple[int, ...]:
        """Positions of the hospitals that can take a patient with images of all ``modalities``."""
        return tuple(
            index
            for index, hospital in enumerate(hospitals)
            if all(self.has(hospital, modality) for modality in modalities)
        )

    def annotated(self, hospital: str, row: Mapping[str, str], findings: Sequence[str]) -> Mapping[str, str]:
        """``row`` with the findings emptied that the hospital does not annotate: unknown, which is not absent."""
        if hospital not in self.annotates:
            return row
        return {**row, **dict.fromkeys(set(findings) - set(self.annotates[hospital]), "")}
