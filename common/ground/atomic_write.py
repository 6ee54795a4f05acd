"""A file is either the old one or the new one, never half of the new one."""

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

PRIVATE = 0o600  # for what only the file's owner may read
_TEMPORARY = re.compile(r"\..*\.(\d+)\.[0-9a-f]{8}\.tmp", re.DOTALL)


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
    except BaseException as error:
        if isinstance(error, OSError):
            name_as_asked(error, temporary, path)
        with contextlib.suppress(OSError):  # as where a file stands in the place of its folder
            temporary.unlink(missing_ok=True)
        raise
    if durable:  # else the name may be the old file's again after a power cut
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with contextlib.suppress(OSError):  # of a file system that does so by itself
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def name_as_asked(error: OSError, temporary: Path, path: Path) -> None:
    """An error at ``temporary`` speaks of ``path`` then, the name that a person knows."""
    if str(error.filename) == str(temporary):
        error.filename = str(path)
        del error.filename2  # None would be printed


def remove_leftovers(folder: Path) -> None:
    """Remove what processes of this machine were writing below ``folder`` when they were killed."""
    for path in folder.rglob(".*.tmp"):
        if (found := _TEMPORARY.fullmatch(path.name)) and not _lives(int(found[1])):
            path.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    with contextlib.suppress(PermissionError):  # another user's
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
