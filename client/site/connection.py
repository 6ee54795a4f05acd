"""The way to the consortium's server, in a sentence each time something changes and not more often.

Two sources: the SuperNode's log, which alone knows why the server does not let this hospital in, and a look at the
server of our own, because in that log a server that is away, or one with another certificate, looks like helpers of the
SuperNode that start up.
"""

import threading
import time
from collections.abc import Callable

from fedthorax.client.site.about import BEHIND

LOOK_EVERY_S = 10.0
OLD_CONNECTION_S = 120.0  # by then the server has let go of a connection that broke off: two heartbeats of 30 s
REFUSED = "refused by the server: "  # how call_signing.py begins the server's reason
# Texts of flwr 1.42, which the project pins.
_CONNECTED = "SuperNode ID:"
_OLD_CONNECTION = "[code: 2004]"  # exit 305: a connection with this key is there already
_BROKEN_LINE = "SSL/TLS handshake error"  # of which it dies, and is started again
_SUPERLINKS_WORDS = (
    "Invalid SuperNode authentication"  # where no gateway of ours stands in front, which would know more
)
_UNKNOWN_KEY = "this key does not belong to an admitted hospital, or the clock is wrong"
_AWAY = "cannot be reached"  # so about.py says it
_OLD_WORDS = "the server still holds the connection that broke off; it lets go within about a minute, tries go on"
_TWICE_WORDS = (
    "another SuperNode is connected with this hospital's key, perhaps on another machine: end it there, or make a new "
    "key (fedthorax site renew); tries go on"
)


class Connection:
    """``take`` gets each line that the SuperNode prints, ``look`` runs in a thread of its own; both speak through
    ``tell``."""

    def __init__(self, server: str, tell: Callable[[str], None], stop: threading.Event) -> None:
        self._server, self._tell, self._stop = server, tell, stop
        self._lock = threading.Lock()
        self._told = ""
        self._fault: str | None = None
        self._broken = False
        self._held_since: float | None = None

    def take(self, line: str) -> None:
        if _CONNECTED in line:
            self._broken, self._held_since = False, None
            self._say("connected; this hospital is asked once the lead starts a run")
        elif line.startswith(REFUSED):
            reason = line.removeprefix(REFUSED)
            self._say(f"not let in: {_UNKNOWN_KEY if reason == _SUPERLINKS_WORDS else reason}; tries go on")
        elif _OLD_CONNECTION in line:
            if self._held_since is None:
                self._held_since = time.monotonic()
            twice = time.monotonic() - self._held_since >= OLD_CONNECTION_S
            self._say(_TWICE_WORDS if twice else _OLD_WORDS)
        elif _BROKEN_LINE in line or "CERTIFICATE_VERIFY_FAILED" in line.upper().replace(" ", "_"):
            self._broken = True  # ``look`` has the words

    def explains(self, text: str) -> bool:
        """Whether a supervisor's ``text`` about the SuperNode's end says no more than was said here already."""
        return text.startswith("supernode ") and (
            self._broken or (self._told != "" and not self._told.startswith("connected"))
        )

    def look(self, fault: Callable[[], str | None]) -> None:
        """Until the end, tell what keeps the server from being reached, and when it can be again; two misses count as
        one. ``fault`` is None where it can."""
        misses = 0
        while not self._stop.is_set():
            found = fault()
            misses = 0 if found is None else misses + 1
            if found is None and self._fault is not None:
                self._tell(f"{self._server} {'works' if BEHIND in self._fault else 'can be reached'} again")
            elif found is not None and misses >= 2 and _kind(found) != _kind(self._fault or ""):
                self._tell(f"{found}; tries go on")
            if found is None or misses >= 2:
                self._fault = found
            self._stop.wait(LOOK_EVERY_S if misses == 0 else 2.0)

    def _say(self, words: str) -> None:
        with self._lock:
            if words != self._told:
                self._told = words
                self._tell(f"{self._server}: {words}")


def _kind(fault: str) -> str:
    """One server that is away is refused, reset and waited for in turn: that is one piece of news."""
    return _AWAY if _AWAY in fault else fault
