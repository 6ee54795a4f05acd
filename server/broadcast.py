"""The common model on its way to the hospitals: with a codec as the difference to the model before.

With a lossy codec what the hospitals can read *is* the common model: scored, selected, checkpointed, delivered. What
rounding left out of it stays here and is added to the next difference. So all hospitals hold the same bits, whether
they came as differences or, to one that had lost them, as a whole.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.config.federation import CodecName
from fedthorax.common.model.segments import Weights, segment_sha256
from fedthorax.common.wire.pack import Bytes, read_packs
from fedthorax.common.wire.segment import MOST_STEPS, pack_exactly, pack_rounded

_WHOLE_BYTES, _HEAD_BYTES = 3.4, 512  # what a segment that travels whole takes: a value, and its header
_RESIDUAL, _STEPS = "residual.", "steps."

Exact = Callable[[str], Iterable[tuple[int, int]]]  # SegmentLayout.exact


@dataclass(frozen=True)
class Step:
    """A segment's way from one common model to the next, both named by their SHA-256."""

    before: str
    after: str
    pack: Bytes


class Broadcast:
    """Made for one run; ``state`` is what a checkpoint has to hold of it."""

    def __init__(
        self, codec: CodecName = "float32", exact: Exact = lambda segment: (), state: Mapping[str, Bytes] | None = None
    ) -> None:
        self._codec, self._exact = codec, exact
        self._residuals: dict[str, NDArray[np.float32]] = {}
        self._steps: dict[str, list[Step]] = {}
        self._joined: dict[tuple[str, str, str], Bytes] = {}
        for name, kept in (state or {}).items():
            if name.startswith(_RESIDUAL):
                self._residuals[name.removeprefix(_RESIDUAL)] = kept.view(np.float32)
            else:
                after, _, segment = name.removeprefix(_STEPS).partition(".")
                self._steps[segment] = _steps_in(kept, after)

    @property
    def state(self) -> dict[str, Bytes]:
        residuals = {_RESIDUAL + segment: values.view(np.uint8) for segment, values in self._residuals.items()}
        steps = {
            f"{_STEPS}{steps[-1].after}.{segment}": np.concatenate([step.pack for step in steps])
            for segment, steps in self._steps.items()
        }
        return residuals | steps

    def copy(self) -> "Broadcast":
        """As it is now, whatever becomes of this one."""
        same = Broadcast(self._codec, self._exact)
        same._residuals, same._steps = dict(self._residuals), dict(self._steps)
        return same

    def following(self, before: Weights, after: Weights) -> dict[str, NDArray[np.float32]]:
        """The common model after ``before`` that is as near to ``after`` as the codec can tell the hospitals."""
        found = dict(after)
        self._joined.clear()
        for segment, values in after.items():
            base = before[segment]
            if self._codec == "float32" or values is base:
                continue
            digest = segment_sha256(base)
            if self._codec == "lossless":
                pack = pack_exactly(values, base, digest)
            else:
                residual = self._residuals.get(segment)
                packed = pack_rounded(self._codec, values, base, digest, tuple(self._exact(segment)), residual)
                pack, found[segment], self._residuals[segment] = packed.pack, packed.values, packed.residual
            step = Step(digest, segment_sha256(found[segment]), pack)
            if step.before != step.after:
                known = self._steps.get(segment, [])
                self._steps[segment] = [*(known if known and known[-1].after == digest else []), step][-MOST_STEPS:]
        return found

    def differences(self, sha256: Mapping[str, str], holds: Callable[[str, str], bool]) -> dict[str, Bytes]:
        """For each segment of a model, told by their hashes, the way to it from what a hospital ``holds``; segments to
        which there is none, or a longer one than the segment itself, are left out."""
        found = {}
        for segment, digest in sha256.items():
            steps = self._steps.get(segment, [])
            if not steps or steps[-1].after != digest or holds(segment, digest):
                continue
            start = next((i for i in range(len(steps) - 1, -1, -1) if holds(segment, steps[i].before)), None)
            if start is None:
                continue
            way = self._way(segment, steps[start:])
            if way.size < _WHOLE_BYTES * next(read_packs(way)).header.values + _HEAD_BYTES:
                found[segment] = way
        return found

    def _way(self, segment: str, steps: list[Step]) -> Bytes:
        """One array for all hospitals that need the same steps: it is encoded once."""
        if len(steps) == 1:
            return steps[0].pack
        key = (segment, steps[0].before, steps[-1].after)
        if key not in self._joined:
            self._joined[key] = np.concatenate([step.pack for step in steps])
        return self._joined[key]


def _steps_in(data: Bytes, after: str) -> list[Step]:
    """Steps that follow each other, of which the last ends at ``after``."""
    packs, start = [], 0
    for pack in read_packs(data):
        packs.append((pack.header.base, data[start : start + pack.size]))
        start += pack.size
    ends = [*(base for base, _ in packs[1:]), after]
    return [Step(base, end, values) for (base, values), end in zip(packs, ends, strict=True)]
