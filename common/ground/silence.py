"""The warnings of image libraries, kept from people: what is wrong with a file is said once, as its reason."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

_lock = threading.Lock()
_inside = 0
_outer: "warnings.catch_warnings[None] | None" = None


@contextmanager
def silence() -> Iterator[None]:
    """No warning is shown while any thread is inside, but a picture of too many pixels is an error.

    The filters of warnings belong to the whole process, and ``catch_warnings`` of several threads would restore them in
    the wrong order. So the first thread to enter sets them, and the last one to leave restores them.
    """
    global _inside, _outer
    with _lock:
        _inside += 1
        if _inside == 1:
            _outer = warnings.catch_warnings()
            _outer.__enter__()
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _outer is not None:
                _outer.__exit__(None, None, None)
                _outer = None
