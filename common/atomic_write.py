"""A file is either the old one or the new one, never half of the new one."""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Replace ``path`` by ``text`` in UTF-8; on any error the old file stays as it was and no other file is left.

    ``mode`` is the new file's, less the umask; 0o600 keeps it from everybody but its owner at all times.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
