"""A file is either the old one or the new one, never half of the new one."""

import os
import secrets
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8; on any error the old file stays as it was and no other file is left."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes, private: bool = False) -> None:
    """The same for bytes; a ``private`` file can be read by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
