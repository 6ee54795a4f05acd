"""How unlike the phantom hospitals are: their machines, their case mixes, their sizes, and what some of them lack."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.simulations.phantom.chest import FINDINGS
from fedthorax.simulations.phantom.cohort import CENTRAL_MIX, CaseMix, mix_of
from fedthorax.simulations.phantom.scanner import Look, look_of
from fedthorax.simulations.phantom.thorax import CANCER_CLASSES
from fedthorax.simulations.site_limits import SiteLimits

ASPECTS: Mapping[str, tuple[str, ...]] = {
    "contrast": ("gamma", "contrast", "window_hu"),
    "noise": ("noise", "grain", "ct_noise"),
    "resolution": ("scale", "blur", "ct_scale", "ct_blur"),
    "markers": ("marker", "collimation"),
    "format": ("aspect", "xray_format"),
}
"""What of a machine may differ between hospitals, and the fields of ``Look`` behind it."""

_RANGES = {
    **{"gamma": (0.3, 3.0), "contrast": (0.2, 2.0), "noise": (0.0, 0.3), "grain": (0.0, 4.0), "ct_noise": (0.0, 400.0)},
    **{"scale": (0.3, 2.0), "blur": (0.0, 5.0), "ct_scale": (0.3, 2.0), "ct_blur": (0.0, 5.0)},
    **{"collimation": (0.0, 0.2), "aspect": (0.6, 1.6)},
}
_NARROWEST_WINDOW = 200.0
_PREVALENCE = (0.02, 0.90)
_SMALLEST = 0.1  # of the mean size


@dataclass(frozen=True)
class Variety:
    """``shift`` scales how far each machine is from the first hospital's: 0 all alike, 1 as they are, 2 twice as far;
    only in ``aspects``. ``alpha`` draws case mixes, ``size_alpha`` sizes, from Dirichlet distributions, the smaller the
    more unequal; None: the four built-in mixes in turn."""

    shift: float = 1.0
    aspects: tuple[str, ...] = tuple(ASPECTS)
    alpha: float | None = None
    size_alpha: float | None = None
    limits: SiteLimits = field(default_factory=SiteLimits)

    def check(self, hospitals: Sequence[str]) -> None:
        """Raise ValueError for what cannot be."""
        if not 0 <= self.shift <= 5:
            raise ValueError(f"shift must be between 0 (machines alike) and 5, got {self.shift:g}")
        if unknown := sorted(set(self.aspects) - set(ASPECTS)):
            raise ValueError(f"machines cannot differ in {', '.join(unknown)}; expected some of {', '.join(ASPECTS)}")
        for key, alpha in (("alpha", self.alpha), ("size_alpha", self.size_alpha)):
            if alpha is not None and not 0 < alpha < np.inf:
                raise ValueError(f"{key} must be above 0, got {alpha:g}")
        self.limits.check(hospitals, FINDINGS)

    def look(self, index: int) -> Look:
        """The machines of the hospital at this place in the list."""
        first, own = look_of(0), look_of(index)
        kept = {name for aspect in self.aspects for name in ASPECTS[aspect]} if self.shift else set[str]()
        values = {name: value for name, value in asdict(own).items() if name in kept}
        if self.shift != 1:
            values = {name: _shifted(name, getattr(first, name), value, self.shift) for name, value in values.items()}
        return own if values.keys() | {"name"} == asdict(own).keys() and self.shift == 1 else replace(first, **values)

    def mixes(self, count: int, seed: int) -> list[CaseMix]:
        """Size and case mix of every hospital."""
        mixes = [mix_of(index) for index in range(count)]
        if self.size_alpha is not None:
            shares = np.random.default_rng(derive_seed(seed, "phantom", "sizes")).dirichlet([self.size_alpha] * count)
            mixes = [
                replace(mix, size=max(float(share) * count, _SMALLEST))
                for mix, share in zip(mixes, shares, strict=True)
            ]
        if self.alpha is not None:
            rng = np.random.default_rng(derive_seed(seed, "phantom", "case mixes"))
            of_finding = rng.dirichlet([self.alpha] * count, len(FINDINGS)) * count
            prevalence = np.clip(of_finding.T * np.array(CENTRAL_MIX.prevalence), *_PREVALENCE)
            cancer = rng.dirichlet(self.alpha * len(CANCER_CLASSES) * np.array(CENTRAL_MIX.cancer), count)
            mixes = [
                replace(mix, prevalence=tuple(map(float, findings)), cancer=tuple(map(float, classes)))
                for mix, findings, classes in zip(mixes, prevalence, cancer, strict=True)
            ]
        return mixes


def _shifted(name: str, first: object, own: object, shift: float) -> object:
    """``first`` plus ``shift`` times the way to ``own``, within what can be drawn; a word is the own one."""
    if isinstance(own, (int, float)) and isinstance(first, (int, float)):
        low, high = _RANGES[name]
        return float(np.clip(first + shift * (own - first), low, high))
    if isinstance(own, (list, tuple)) and isinstance(first, (list, tuple)):
        bottom, top = (float(a + shift * (b - a)) for a, b in zip(first, own, strict=True))
        return (bottom, max(top, bottom + _NARROWEST_WINDOW))
    return own
