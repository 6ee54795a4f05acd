"""Writing in a picture: small bright marks of one height, side by side."""

import numpy as np
from PIL import Image

_SIDE = 384  # at which the writing that a hospital's workstation burns in is 4 to 24 pixels high
_BRIGHT = 200
_STEP = 80  # above the darkest pixel nearby: ribs and catheters rise less steeply
_NEIGHBOURHOOD = 9
_HEIGHTS = (4, 24)
_SAME_LINE, _SAME_HEIGHT, _REACH = 2.5, 2, 120
_MOST_MARKS = 500  # a picture of noise has thousands, and none of them is writing


def letters_in_a_row(grey: Image.Image) -> int:
    """How many letter-like marks stand in the longest line of ``grey``; side letters such as L count one."""
    from scipy import ndimage

    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0), np.int16)
    bright = small >= _BRIGHT
    if not bright.any():
        return 0
    marks, _ = ndimage.label(bright & (small - ndimage.minimum_filter(small, _NEIGHBOURHOOD) >= _STEP), np.ones((3, 3)))
    boxes = np.array(
        [(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(marks)], dtype=np.float32
    ).reshape(-1, 4)
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    boxes = boxes[(heights >= _HEIGHTS[0]) & (heights <= _HEIGHTS[1]) & (widths <= _HEIGHTS[1])]
    if not 0 < len(boxes) <= _MOST_MARKS:
        return 0
    middles, heights, lefts = (boxes[:, 0] + boxes[:, 1]) / 2, boxes[:, 1] - boxes[:, 0], boxes[:, 2]
    in_line = np.abs(middles[:, None] - middles) <= _SAME_LINE
    in_line &= np.abs(heights[:, None] - heights) <= _SAME_HEIGHT
    in_line &= np.abs(lefts[:, None] - lefts) <= _REACH
    return int(in_line.sum(axis=1).max())
