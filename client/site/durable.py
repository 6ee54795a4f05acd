"""Replies that are kept until the server has them: a task that comes twice is done once, also after a crash.

``state/replies/TASK_ID.reply`` is a line with the hash of the request, then the parcel as it left: a line with its
manifest, its text, its segments.
``state/replies/TASK_ID.attempts`` counts how often the task was begun: one that ends the worker each time is not begun
for ever.
"""

import time
from collections.abc import Iterable
from pathlib import Path

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes, write_text
from fedthorax.common.wire.parcel import Parcel, parcel_of, read_manifest

KEEP_SECONDS = 30 * 86400.0  # a reply that no later message has acknowledged


class ReplyStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, task_id: str, request: str, reply: Parcel) -> None:
        """On disk when this returns. ``request`` is a hash of what was asked (worker.request_sha256)."""
        head = f"{request}\n".encode() + reply.manifest + b"\n"
        write_bytes(self._reply(task_id), (head, reply.text, *reply.data), mode=PRIVATE)
        self._attempts(task_id).unlink(missing_ok=True)

    def load(self, task_id: str, request: str) -> Parcel | None:
        """The reply to the task as ``request`` asks it, or None.

        A damaged file, or the answer to another request, is removed: the task is done again.
        """
        path = self._reply(task_id)
        try:
            with path.open("rb") as file:
                if file.readline().strip() != request.encode():
                    raise ValueError("the answer to another request")
                manifest = file.readline().strip()
                reply = parcel_of(manifest, file.read(read_manifest(manifest).text_bytes), file.read())
            reply.require_intact()
            return reply
        except FileNotFoundError:
            return None
        except ValueError:
            path.unlink(missing_ok=True)
            return None

    def begin(self, task_id: str) -> int:
        """Note that the task is begun, and return how often it was begun before without coming to an end."""
        path = self._attempts(task_id)
        try:
            before = int(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            before = 0
        write_text(path, f"{before + 1}\n")
        return before

    def end(self, task_id: str) -> None:
        """Note that the task came to an end without a reply to keep."""
        self._attempts(task_id).unlink(missing_ok=True)

    def forget(self, task_ids: Iterable[str]) -> None:
        """Remove what the server has, and what is older than KEEP_SECONDS."""
        for task_id in task_ids:
            if _is_task_id(task_id):
                self._reply(task_id).unlink(missing_ok=True)
                self._attempts(task_id).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            try:
                if path.stat().st_mtime < time.time() - KEEP_SECONDS:
                    path.unlink()
            except FileNotFoundError:
                continue  # another task of this site has removed it meanwhile

    def clear(self) -> None:
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)

    def _reply(self, task_id: str) -> Path:
        return self.folder / f"{task_id}.reply"

    def _attempts(self, task_id: str) -> Path:
        return self.folder / f"{task_id}.attempts"


def _is_task_id(text: str) -> bool:
    """Ids of other tasks come from the server and become names of files here."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
