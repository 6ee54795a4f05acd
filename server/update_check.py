"""What an update must be before it is averaged; a refusal names the hospital's variable and what is wrong with it."""

from collections.abc import Iterable

import numpy as np

from fedthorax.common.messages import Reply
from fedthorax.common.model.segments import SegmentLayout
from fedthorax.server.aggregation import LIMIT


def check_update(reply: Reply, layout: SegmentLayout, segments: Iterable[str]) -> None:
    """Raise ValueError unless ``reply`` carries exactly ``segments``, in the right sizes, finite and in range."""
    expected, came = set(segments), set(reply.weights)
    if expected != came:
        raise ValueError(
            f"the update holds {', '.join(sorted(came)) or 'nothing'}, expected {', '.join(sorted(expected))}"
        )
    layout.check_sizes(reply.weights)
    for segment, values in reply.weights.items():
        if values.dtype != np.float32:
            raise ValueError(f"segment {segment}: expected float32, got {values.dtype}")
        bad = np.flatnonzero(~(np.abs(values) < LIMIT))
        if bad.size:
            first = int(bad[0])
            raise ValueError(
                f"the update holds {bad.size} values that are not finite or not below {LIMIT:.0f}, the first one "
                f"({values[first]}) in {layout.name_at(segment, first)}"
            )
