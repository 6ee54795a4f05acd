"""Waiting for a run's end, whatever happens to the SuperLink meanwhile."""

import time
from collections.abc import Callable

from fedthorax.common.ground.machine import full_disk
from fedthorax.server.consortium.control import FlowerRun, ServerNotRunningError, control
from fedthorax.server.consortium.folder import ConsortiumFolder

POLL_SECONDS = 2.0
STANDSTILL_SECONDS = 60.0  # of a full disk
NOT_BEGUN_SECONDS = 60.0  # some time more than a loaded machine needs to start a process


def wait_until_over(
    folder: ConsortiumFolder,
    run_id: int,
    tell: Callable[[str], None],
    poll: float = POLL_SECONDS,
    ended: Callable[[], bool] = lambda: False,
) -> FlowerRun | None:
    """The run ``run_id`` as Flower sees it once it is over; None if the SuperLink does not know it.

    While the SuperLink does not answer, that is told once, and waited for; so is a run that it gives no process. Not on
    a full disk: there its state cannot be written, and it would call the run running for ever. None, then, once the
    run's process has ``ended`` or STANDSTILL_SECONDS have passed.
    """
    silent: float | None = None
    waited = 0.0
    while True:
        try:
            with control(folder) as link:
                run = link.run(run_id)
        except (ServerNotRunningError, RuntimeError) as error:
            if silent is None:
                tell(f"{error}; waiting for it")
                silent = time.monotonic()
            full, broken = full_disk(folder.path) is not None, isinstance(error, RuntimeError)
            if ((full or broken) and ended()) or (full and time.monotonic() - silent > STANDSTILL_SECONDS):
                return None
        else:
            if silent is not None:
                tell("the server answers again")
                silent = None
            if run is None or run.over:
                return run
            if run.status in ("pending", "starting"):
                if waited <= NOT_BEGUN_SECONDS < waited + poll:
                    tell(f"the run has had no process for {NOT_BEGUN_SECONDS:.0f} s; see logs/superlink.log")
                waited += poll
        time.sleep(poll)
