"""The way to the consortium's server, in a sentence each time something changes and not more often.

Two sources: the SuperNode's log, which alone knows whether the server takes this hospital's key, and a look at the
server of our own, because in that log a server that is away looks like the SuperNode's own helpers starting up.
"""

import threading
from collections.abc import Callable

LOOK_EVERY_S = 10.0
# Texts of flwr 1.41, which the project pins.
_CONNECTED = "SuperNode ID:"
_ENDED_ITSELF = "SuperNode terminated gracefully"  # what it does when the server answers 401 to its key
_OLD_CONNECTION = "[code: 2004]"  # exit 305: the server has not yet missed the connection that broke off
_BROKEN_LINE = "SSL/TLS handshake error"  # of which it dies, and is started again
_UNKNOWN_KEY = "the server does not take this hospital's key: not admitted yet, or revoked; tries go on"
_OLD_WORDS = "the server still holds the connection that broke off; it lets go within about a minute, tries go on"
_BAD_CERTIFICATE = "the server's certificate was not signed by the consortium's authority (ca.crt); tries go on"


class Connection:
    """``take`` gets each line that the SuperNode prints, ``look`` runs in a thread of its own; both speak through
    ``tell``."""

    def __init__(self, server: str, tell: Callable[[str], None], stop: threading.Event) -> None:
        self._server, self._tell, self._stop = server, tell, stop
        self._lock = threading.Lock()
        self._told = ""
        self._reachable: bool | None = None
        self._broken = False

    def take(self, line: str) -> None:
        if _CONNECTED in line:
            self._broken = False
            self._say("connected")
        elif _BROKEN_LINE in line:
            self._broken = True  # ``look`` has the words
        elif _ENDED_ITSELF in line and not self._stop.is_set():
            self._say(_UNKNOWN_KEY)
        elif _OLD_CONNECTION in line:
            self._say(_OLD_WORDS)
        elif "CERTIFICATE_VERIFY_FAILED" in line.upper().replace(" ", "_"):
            self._say(_BAD_CERTIFICATE)

    def explains(self, text: str) -> bool:
        """Whether a supervisor's ``text`` about the SuperNode's end says no more than was said here already."""
        return text.startswith("supernode ") and (self._broken or self._told not in ("", "connected"))

    def look(self, reachable: Callable[[], bool]) -> None:
        """Until the end, tell when the server cannot be reached and when it can again; two misses count as one."""
        misses = 0
        while not self._stop.is_set():
            if reachable():
                misses = 0
                if self._reachable is False:
                    self._tell(f"{self._server} can be reached again")
                self._reachable = True
            else:
                misses += 1
                if misses == 2 and self._reachable is not False:
                    self._reachable = False
                    self._tell(f"{self._server} cannot be reached; tries go on until it can")
            self._stop.wait(LOOK_EVERY_S if misses == 0 else 2.0)

    def _say(self, words: str) -> None:
        with self._lock:
            if words != self._told:
                self._told = words
                self._tell(f"{self._server}: {words}")
