"""A file is either the old one or the new one, never half of the new one."""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

PRIVATE = 0o600  # for what only the file's owner may read


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in UTF-8; on any error the old file stays as it was and no other file is left."""
    write_bytes(path, (text.encode(),))


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value``, a model or what JSON holds. ValueError where a number is not finite."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_text(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_bytes(path: Path, pieces: Iterable[bytes | memoryview], mode: int = 0o666) -> None:
    """Replace ``path`` by the pieces, one after the other, as ``write_text`` does."""
    with replacing(path, mode) as file:
        file.writelines(pieces)


@contextmanager
def replacing(path: Path, mode: int = 0o666, durable: bool = True) -> Iterator[BinaryIO]:
    """An open file that takes the place of ``path`` once it is written without an error; ``mode``, less the process's
    umask, holds from the start. Without ``durable`` a power cut may leave it damaged: for what is known by its hash, or
    made again."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
