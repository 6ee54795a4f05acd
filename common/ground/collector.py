"""Python's garbage collector while large libraries are imported."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_off() -> Iterator[None]:
    """No collection in here, and none later of what is there at the end.

    TensorFlow makes millions of objects when it is imported, of which none is garbage, and the collector would go
    through them a dozen times (docs/performance.md). They live as long as the process, so later collections pass them
    by as well.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if on:
            gc.enable()
