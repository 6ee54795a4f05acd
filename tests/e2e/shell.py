"""Commands as the documents print them, in a shell, in a home of their own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ..documented import documented, missing
from ..waiting import wait_for
from .consortium import MARK, heed_ctrl_c

BIN = Path(sys.executable).parent


class Shell:
    """What it starts is gone when it is closed. ``environment`` may be added to."""

    def __init__(self, place: Path) -> None:
        heed_ctrl_c()
        self.place = place
        (place / "home").mkdir(parents=True)
        ours = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FLWR_HOME", "COLUMNS")}
        self.environment = ours | {
            "HOME": str(place / "home"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "COLUMNS": "80",
            MARK: str(place),
            "BROWSER": "true",
        }

    def printed(
        self,
        command: str,
        folder: Path,
        put: dict[str, str] | None = None,
        more: str = "",
        said: str = "",
        expect: int = 0,
    ) -> str:
        """Run a documented command to its end; what it says. AssertionError where that lacks a line which stands below
        the command in the documents, or for another exit status.

        ``put`` replaces a placeholder of the documents, ``more`` stands behind what is printed there, ``said`` is what
        the person answers on the terminal.
        """
        output = self.run(_with(command, put) + f" {more}", folder, said, expect)
        assert missing(command, output) == [], f"{command}\n{output}"
        return output

    def started(
        self, command: str, folder: Path, told: Path, put: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A documented command that goes on by itself; what it says goes to ``told``."""
        assert command in documented()
        return self.start(_with(command, put), folder, told)

    def run(self, line: str, folder: Path, said: str = "", expect: int = 0) -> str:
        keyboard, terminal = os.openpty()
        try:
            os.write(keyboard, said.encode())
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=folder,
                env=self.environment,
                stdin=terminal,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=1800,
            )
        finally:
            os.close(keyboard)
            os.close(terminal)
        assert done.returncode == expect, f"{line}: exit status {done.returncode}, expected {expect}\n{done.stdout}"
        return done.stdout

    def start(self, line: str, folder: Path, told: Path) -> subprocess.Popen[bytes]:
        with told.open("ab") as output:
            return subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def close(self) -> None:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == str(self.place):
                    process.kill()


def _with(command: str, put: dict[str, str] | None) -> str:
    assert command in documented(), f"no document prints {command!r}"
    for old, new in (put or {}).items():
        assert old in command, f"{old!r} is not in {command!r}"
        command = command.replace(old, new)
    return command


def interrupted(process: subprocess.Popen[bytes], expect: int = 0) -> None:
    """Ctrl-C, and its exit status."""
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == expect


def said(told: Path, words: str, process: subprocess.Popen[bytes] | None = None, seconds: float = 600.0) -> str:
    """All that stands in ``told`` once ``words`` are in it; sooner to fail where the ``process`` has ended without."""

    def heard() -> bool:
        ended = process is not None and process.poll() is not None
        if words in told.read_text(encoding="utf-8"):
            return True
        assert not ended, f"ended without {words!r}\n{told.read_text(encoding='utf-8')}"
        return False

    wait_for(heard, f"{words!r} in {told.name}", seconds)
    return told.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    one = Shell(tmp_path_factory.mktemp("shell"))
    yield one
    one.close()
