"""A hospital's update as it travels with ``federation.codec``: differences to the model that came with the task."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedthorax.client.site_store import SiteStore
from fedthorax.common.config.federation import FederationConfig
from fedthorax.common.messages.message import PackedSegments, Segments
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.common.wire.segment import pack_exactly, pack_rounded


@dataclass(frozen=True)
class PackedUpdate:
    """``residual_lost``: the hospital no longer has what its earlier updates left out."""

    packed: PackedSegments
    residual_lost: bool = False


def pack_update(
    federation: FederationConfig,
    task: TrainTask,
    start: Segments,
    update: Segments,
    layout: SegmentLayout,
    kept: SiteStore,
) -> PackedUpdate:
    """``update`` packed against ``start``, the segments of the task's model; what is left out goes to ``kept``.

    Raises ValueError that names the variable where a value is not finite.
    """
    if not federation.rounds_weights:
        packed = {name: pack_exactly(values, start[name], task.sha256[name]) for name, values in update.items()}
        return PackedUpdate(packed)
    before = kept.residual(task)
    residual: dict[str, NDArray[np.float32]] = dict(before or {})
    packs = {}
    for name, values in update.items():
        try:
            found = pack_rounded(
                federation.codec, values, start[name], task.sha256[name], layout.exact(name), residual.get(name)
            )
        except ValueError as error:
            raise ValueError(f"{_worst(layout, name, values)}: {error}") from error
        packs[name], residual[name] = found.pack, found.residual
    kept.keep_residual(task, residual)
    return PackedUpdate(packs, before is None)


def _worst(layout: SegmentLayout, segment: str, values: NDArray[np.float32]) -> str:
    odd = np.flatnonzero(~np.isfinite(values))
    where = int(odd[0]) if odd.size else int(np.abs(values).argmax())
    return f"the update in {layout.name_at(segment, where)} is {values[where]}"
