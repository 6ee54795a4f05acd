"""Keeping the processes of a server or a hospital up: started, watched, started again, ended together."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

POLL_SECONDS = 0.2
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 60.0
STEADY_SECONDS = 60.0  # whoever ran this long begins with the shortest delay again
PATIENCE_SECONDS = 15.0  # between SIGTERM and SIGKILL
_LOG_BYTES = 5 * 2**20
_LOG_FILES = 3
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Service:
    """One process to keep up. What it prints goes to ``log``, which is turned over at 5 MiB, three files at most."""

    name: str
    command: tuple[str, ...]
    log: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    on_line: Callable[[str], None] | None = None  # called, from a thread of its own, with each line that it prints
    unlogged: re.Pattern[str] | None = None  # lines that match anywhere are left out of the log
    user: str = ""  # who runs it, with ``group`` beside the user's own groups; empty: who runs the supervisor
    group: str = ""


def supervise(
    services: Sequence[Service],
    tell: Callable[[str], None],
    stop: threading.Event,
    changed: Callable[[Mapping[str, int]], None] = lambda pids: None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Keep ``services`` running until ``stop`` is set, then end them, last first.

    A process that ends is started again after 1 s, then 2, 4, … up to 60 s. ``tell`` takes sentences for a person;
    of a process that keeps ending only the first three ends are told. ``changed`` takes the process ids by name
    whenever one has changed, and again where it raises OSError, as on a full disk; ``tick`` is called every 0.2 s. Call
    this from a thread that lives as long as the services shall: on Linux they get SIGTERM when it ends.
    """
    kept = [_Kept(service, tell) for service in services]
    pids: dict[str, int] = {}
    try:
        while True:
            for one in kept:
                one.step(time.monotonic())
            present = {one.service.name: one.pid for one in kept if one.pid is not None}
            if pids != present:
                with contextlib.suppress(OSError):  # of a full disk: once more at the next look
                    changed(present)
                    pids = present
            tick()
            if stop.wait(POLL_SECONDS):
                return
    finally:
        for one in reversed(kept):
            one.end()


def end_in_words(code: int) -> str:
    """How a process ended, from ``Popen.returncode``."""
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


class _LogFile(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        """A full disk loses the line. The process goes on, its lines are still listened to, and the terminal is free of
        tracebacks."""

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it could not write before
            super().close()


class _Kept:
    """One service and its present process."""

    def __init__(self, service: Service, tell: Callable[[str], None]) -> None:
        self.service = service
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._due = 0.0
        self._started = 0.0
        self._ends = 0
        self._last_line = ""

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def step(self, now: float) -> None:
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._finish_reading()
            self._process = None
            self._ends = 1 if now - self._started >= STEADY_SECONDS else self._ends + 1
            self._plan_restart(end_in_words(code), now)
        if now >= self._due:
            try:
                self._start(now)
            except OSError as error:
                self._ends += 1
                self._plan_restart(f"could not be started: {error}", now)

    def _plan_restart(self, what: str, now: float) -> None:
        delay = min(FIRST_DELAY_SECONDS * 2 ** min(self._ends - 1, 10), LONGEST_DELAY_SECONDS)
        self._due = now + delay
        if self._ends <= 3:
            said = f": {self._last_line}" if self._last_line and "exit status" in what else ""
            self._tell(f"{self.service.name} {what}{said}; it is started again in {delay:.0f} s")
        if self._ends == 3:
            self._tell(f"{self.service.name} keeps ending; tries go on, without a word here; see {self.service.log}")

    def _start(self, now: float) -> None:
        tied, service = str(Path(__file__).with_name("tied.py")), self.service
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", tied, str(os.getpid()), service.user, service.group, *service.command],
            cwd=service.folder,
            env=os.environ | {"PATH": programs, "PYTHONUNBUFFERED": "1"} | dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then ends its services in order
        )
        self._started, self._last_line = now, ""
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            self.service.log.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(self.service.log, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES - 1, delay=True)
        handler.setFormatter(logging.Formatter("%(message)s"))
        assert process.stdout is not None
        with process.stdout as output, contextlib.closing(handler):
            for raw in output:
                line = _COLOURS.sub("", raw.decode("utf-8", errors="replace")).rstrip()
                self._last_line = line.strip() or self._last_line
                if self.service.unlogged is None or not self.service.unlogged.search(line):
                    handler.emit(logging.LogRecord(self.service.name, logging.INFO, "", 0, line, None, None))
                if self.service.on_line is not None:
                    self.service.on_line(line)

    def _finish_reading(self) -> None:
        """What it printed last; a grandchild that keeps the pipe open is not waited for."""
        if self._reader is not None:
            self._reader.join(1.0)

    def end(self) -> None:
        process = self._process
        if process is None:
            return
        for number, patience in ((signal.SIGTERM, PATIENCE_SECONDS), (signal.SIGKILL, None)):
            try:
                os.killpg(process.pid, number)
            except (ProcessLookupError, PermissionError):
                break
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue  # with the signal that nobody can ignore
        self._kill_rest(process.pid)
        self._finish_reading()
        self._process = None

    @staticmethod
    def _kill_rest(group: int) -> None:
        """What the process itself had started and not ended."""
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
