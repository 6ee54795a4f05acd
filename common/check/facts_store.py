"""Facts of images that were read before, so that a check which was stopped goes on where it was.

They are kept by the content of the file, not by its name: a renamed or copied file is known, a changed one is not. The
store holds small thumbnails of patients' images: only its owner may read it, and it stays at the hospital.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from fedthorax.common.check.facts import FACTS_VERSION, ImageFacts

_TABLES = """
create table if not exists facts (key text primary key, fields text not null, picture blob not null);
create table if not exists files (path text primary key, state text not null, content text not null);
"""
_ELSEWHERE = "name another with --cache, or in XDG_CACHE_HOME"  # the latter for `site check`, too
_WAIT_SECONDS = 60.0  # for another check that is writing


class FactsStore:
    """``folder`` None: remembers nothing beyond this process. Safe with several processes and against a kill at any
    time; what was not yet written down is read again. A damaged store is begun anew."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            self._database = sqlite3.connect(":memory:")
            self._database.executescript(_TABLES)
            return
        file = folder / "check.sqlite"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = _open(file)
        except sqlite3.DatabaseError:
            try:
                file.unlink(missing_ok=True)
                self._database = _open(file)
            except (sqlite3.Error, OSError) as error:
                raise OSError(f"{file}: the check's cache cannot be used ({error}); {_ELSEWHERE}") from None
        except OSError as error:
            raise OSError(
                f"{folder}: the check's cache folder cannot be written ({error.strerror}); {_ELSEWHERE}"
            ) from error

    def __enter__(self) -> "FactsStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(sqlite3.Error):  # the store saves work only: what it does not take is read again the next time
            self._database.commit()
        self._database.close()

    def files(self) -> dict[str, tuple[str, str]]:
        """By absolute path, the state of the file when it was last read, and the hash of its content."""
        rows = self._database.execute("select path, state, content from files")
        return {path: (state, content) for path, state, content in rows}

    def keys(self) -> frozenset[str]:
        return frozenset(key for (key,) in self._database.execute("select key from facts"))

    def get(self, key: str) -> ImageFacts | None:
        row = self._database.execute("select fields, picture from facts where key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return ImageFacts.from_row(*row)
        except (ValueError, KeyError, TypeError):
            return None

    def add(self, facts: Mapping[str, ImageFacts], files: Iterable[tuple[str, str, str]]) -> None:
        """``facts`` by key, ``files`` as (path, state, content hash); written in one transaction.

        Raises OSError if the disk does not take it.
        """
        try:
            with self._database:
                rows = ((key, *fact.to_row()) for key, fact in facts.items())
                self._database.executemany("insert or replace into facts values (?, ?, ?)", rows)
                self._database.executemany("insert or replace into files values (?, ?, ?)", files)
        except sqlite3.Error as error:
            raise OSError(f"the check's cache cannot be written ({error}); {_ELSEWHERE}") from error


def facts_key(content_hash: str, frame: int | None, preparation: str) -> str:
    """``frame`` is the number of the slice inside a file of many; ``preparation`` is how the picture was decoded."""
    return hashlib.blake2b(repr((FACTS_VERSION, content_hash, frame, preparation)).encode(), digest_size=20).hexdigest()


def default_folder() -> Path:
    """Below the user's own cache folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "fedthorax"


def _open(file: Path) -> sqlite3.Connection:
    # Made by hand first, so that at no time anybody else can read it.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(file, timeout=_WAIT_SECONDS)
    try:
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database
