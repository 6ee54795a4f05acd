"""Waiting for a run's end, whatever happens to the SuperLink meanwhile."""

import time
from collections.abc import Callable

from fedthorax.server.consortium.control import FlowerRun, ServerNotRunningError, control
from fedthorax.server.consortium.folder import ConsortiumFolder

POLL_SECONDS = 2.0


def wait_until_over(
    folder: ConsortiumFolder, run_id: int, tell: Callable[[str], None], poll: float = POLL_SECONDS
) -> FlowerRun | None:
    """The run ``run_id`` as Flower sees it once it is over; None if the SuperLink does not know it.

    While the SuperLink does not answer, that is told once, and waited for.
    """
    silent = False
    while True:
        try:
            with control(folder) as link:
                run = link.run(run_id)
        except (ServerNotRunningError, RuntimeError) as error:
            if not silent:
                tell(f"{error}; waiting for it")
                silent = True
        else:
            if silent:
                tell("the server answers again")
                silent = False
            if run is None or run.over:
                return run
        time.sleep(poll)
