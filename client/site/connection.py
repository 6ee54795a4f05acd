"""What the SuperNode's log says about the connection, in a sentence each time something changes and not more often."""

import threading
from collections.abc import Callable

# Texts of flwr 1.41, which the project pins.
_LOST = "Connection attempt failed"
_BACK = ("Connection successful after", "SuperNode ID:")
_REASONS = (
    ("CERTIFICATE_VERIFY_FAILED", "the server's certificate was not signed by the consortium's authority (ca.crt)"),
    ("certificate verify failed", "the server's certificate was not signed by the consortium's authority (ca.crt)"),
    ("401 Unauthorized", "the server does not know this hospital's key: not admitted yet, or revoked"),
)


class ConnectionWords:
    """``take`` gets each line; ``tell`` hears of the connection's being lost, back, or refused."""

    def __init__(self, tell: Callable[[str], None], server: str) -> None:
        self._tell, self._server = tell, server
        self._lock = threading.Lock()
        self._state = "new"
        self._told_reason = ""

    def take(self, line: str) -> None:
        with self._lock:
            for text, reason in _REASONS:
                if text in line and reason != self._told_reason:
                    self._told_reason = reason
                    self._tell(f"{self._server}: {reason}")
            if _LOST in line and self._state != "lost":
                self._state = "lost"
                self._tell(f"{self._server} cannot be reached; tries go on until it can")
            elif any(text in line for text in _BACK) and self._state != "connected":
                again = " again" if self._state == "lost" else ""
                self._state, self._told_reason = "connected", ""
                self._tell(f"connected to {self._server}{again}")
