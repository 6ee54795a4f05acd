"""Flower's simulation runtime (Ray) for one server function, with nothing left behind afterwards."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fedthorax.common.config import Experiment
from fedthorax.common.disclosure.duplicates import new_key
from fedthorax.common.ground.events import read_events

if TYPE_CHECKING:
    from fedthorax.server.channel import Channel

Result = TypeVar("Result")

_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it aborts at SIGTERM, which is to end a run as Ctrl-C does
}
_LAST_WORDS_SECONDS = 60  # for the server to write down how far it came
_OBJECT_STORE_BYTES = 512 << 20  # a few models in flight; Ray would take 30 % of the machine's memory


def on_flower(
    experiment: Experiment, events: Path | None, serve: Callable[["Channel"], Result], own: Path | None = None
) -> Result:
    """What ``serve`` returns, called with a channel to one virtual hospital for each of ``data.hospitals``.

    Hospitals work one after the other, or ``simulation.parallel_sites`` at a time, in processes that Ray keeps; they
    write their progress to ``events`` and what of the model stays with them below ``own``, both by default in a place
    that is thrown away. They share a duplicate key, made for
    this run, which ``serve`` does not see. The first SIGINT makes the channel raise Interrupted. Leaves no process,
    socket or temporary file behind. Raises what ``serve`` raises.
    """
    with _ray_home() as home, marked_processes():
        events = home / "events.jsonl" if events is None else events
        os.environ |= _ENVIRONMENT | {
            "FLWR_HOME": str(home / "flwr"),
            "FEDTHORAX_EVENTS": str(events),
            "FEDTHORAX_SEGMENTS": str(home / "segments"),
            "FEDTHORAX_OWN": str(own or home / "own"),
            "FEDTHORAX_DUPLICATE_KEY": str(new_key(home / "duplicates.key")),
        }
        return _run(experiment, home, events, serve)


def _run(experiment: Experiment, home: Path, events: Path, serve: Callable[["Channel"], Result]) -> Result:
    from flwr.serverapp import Grid, ServerApp

    from fedthorax.client.app import app as client_app
    from fedthorax.server.flower_channel import FlowerChannel
    from fedthorax.server.nodes import in_turn

    started = time.time()
    sites = tuple(experiment.data.hospitals)
    stop, begun, ended = threading.Event(), threading.Event(), threading.Event()
    results: list[Result] = []
    errors: list[BaseException] = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Any) -> None:
        begun.set()
        try:
            results.append(serve(FlowerChannel(grid, sites, in_turn(sites), stopped=stop.is_set)))
        except BaseException as error:  # Flower would print it; it is raised below instead
            errors.append(error)
        if stop.is_set() or errors:
            _kill_busy_sites(events, started)
        ended.set()

    parallel = min(experiment.simulation.parallel_sites, len(sites))
    backend: Any = {
        "init_args": {
            "num_cpus": parallel,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(home / "ray"),  # which Ray makes everybody's to write in
            "logging_level": logging.CRITICAL,
            "log_to_driver": False,
            "include_dashboard": False,
        },
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    with _quiet_flower(), _on_interrupt(stop.set):
        from flwr.simulation import run_simulation

        try:
            run_simulation(server_app, client_app, len(sites), backend_config=backend)
        except Exception as error:
            # The server's thread waits for hospitals that will never answer, and Python for that thread.
            stop.set()
            if begun.is_set():
                ended.wait(_LAST_WORDS_SECONDS)
            if errors:
                raise errors[0] from error
            cause = error.__cause__ or error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            raise RuntimeError(f"Flower's simulation ended by itself: {' '.join(str(cause).split())}") from error
    if errors:
        raise errors[0]
    return results[0]


def _kill_busy_sites(events: Path, since: float) -> None:
    """End the hospitals' processes, which may be in the middle of an epoch that nobody waits for any more.

    Ray would let them finish it first. They tell their process ids when they start; those told before ``since`` belong
    to a run that was resumed, and the numbers may be somebody else's by now.
    """
    for event in read_events(events, 0)[0]:
        if event["kind"] == "process" and event["time"] >= since:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(event["pid"], signal.SIGKILL)


@contextlib.contextmanager
def _ray_home() -> Iterator[Path]:
    """A temporary folder for Ray's session, named after this process, but shortly because Unix sockets lie in it."""
    home = Path(tempfile.mkdtemp(prefix=f"fedthorax-{os.getpid()}-", dir="/tmp" if Path("/tmp").is_dir() else None))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _quiet_flower() -> Iterator[None]:
    """Keep Flower's log out of the progress display: errors of the run are reported by ourselves. Deprecation warnings,
    which Flower's simulation asks for when it is imported, are for whoever writes Keras and TensorFlow. Ray would write
    on stdout of every process that we end, for the rest of this process,
    whatever it was told about logs, and take SIGTERM from us."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            import flwr.simulation  # noqa: F401
            import ray._private.worker

            ray._private.worker._worker_logs_enabled = False
            ray._private.utils.set_sigterm_handler = lambda handler: None

            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT asks for the end, the second one takes its usual course. Only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGINT)

    def handle(*_: object) -> None:
        stop()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


MARK = "FEDTHORAX_RUN_MARK"
_PATIENCE_S = 10.0  # Ray's helpers look after each other every second or two


@contextlib.contextmanager
def marked_processes() -> Iterator[None]:
    """Every process that is started inside the block, however deep below, is gone when it ends.

    Ray's helpers can outlive Ray when a run is stopped half-way: they are nobody's children by then, so they are found
    by a mark that they inherited, and killed. Relies on /proc; elsewhere it does nothing.
    """
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        deadline = time.monotonic() + _PATIENCE_S
        while (found := _with_mark(mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in found:
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(process, signal.SIGKILL)


def _with_mark(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The environment with which it was started, so this process itself does not carry the mark.
            if wanted in (folder / "environ").read_bytes() and not _is_zombie(folder):
                found.append(int(folder.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _is_zombie(folder: Path) -> bool:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
