"""What the consortium predicts: the findings on X-ray and the cancer classes on CT."""

import itertools

from pydantic import Field, field_validator

from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.names import fault_of_name, skeleton


class LabelsConfig(Frozen):
    """Order matters: it is the order of the heads' output units."""

    findings: tuple[str, ...] = Field(
        min_length=1, strict=False, description="Names of the X-ray findings, as the label files' columns spell them."
    )
    cancer_classes: tuple[str, ...] = Field(
        min_length=2, strict=False, description="Names of the CT classes, as the class folders are called."
    )

    @field_validator("findings", "cancer_classes")
    @classmethod
    def _distinct_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if fault := fault_of_name(name):
                raise ValueError(f"the name {name!r} {fault}")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"names must be distinct, but these are repeated: {', '.join(repeated)}")
        for one, other in itertools.combinations(names, 2):
            if skeleton(one) == skeleton(other):
                raise ValueError(f"the names {one!r} and {other!r} look alike")
        return names
