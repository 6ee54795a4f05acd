"""What has arrived from each hospital, so that it may forget, and the heads of its log, so that it may not.

A hospital keeps a reply until it hears that it has arrived; it hears so with the next task, and only after a checkpoint
holds what was made of the reply: a server that is killed before that asks again.
"""

from collections.abc import Mapping

from fedthorax.common.messages.message import Reply, Task


class Ledger:
    """By hospital: ``acknowledged`` task ids that it has yet to hear of, ``egress_heads`` of its log, oldest first."""

    def __init__(
        self, acknowledged: Mapping[str, list[str]] | None = None, egress_heads: Mapping[str, list[str]] | None = None
    ) -> None:
        self.acknowledged = {site: list(ids) for site, ids in (acknowledged or {}).items()}
        self.egress_heads = {site: list(heads) for site, heads in (egress_heads or {}).items()}
        self._arrived: dict[str, list[str]] = {}

    def told(self, site: str) -> tuple[str, ...]:
        """What the next task tells the hospital about its earlier replies."""
        return tuple(self.acknowledged.get(site, ()))

    def newest_head(self, site: str) -> str:
        """The newest head of the hospital's log that came; empty where none did."""
        heads = self.egress_heads.get(site)
        return heads[-1] if heads else ""

    def arrived(self, task: Task, reply: Reply) -> None:
        """Take note of a reply. Raises ValueError when the hospital's log can no longer be the one that it was.

        Every reply is a line of that log, so its head is new each time; an earlier one means that lines were cut off.
        """
        site = task.site
        self.acknowledged[site] = [one for one in self.acknowledged.get(site, ()) if one not in task.acknowledged]
        self._arrived.setdefault(site, []).append(task.id)
        heads = self.egress_heads.setdefault(site, [])
        if not reply.egress_head:
            if heads and reply.error is None:
                raise ValueError("the hospital's log of what left it has no head any more; it had one before")
            return
        if reply.error is None and reply.egress_head in heads:
            if reply.egress_head == heads[-1]:
                raise ValueError("this reply is missing in the hospital's log of what left it: its head has not moved")
            raise ValueError(
                "the hospital's log of what left it has gone back to an earlier head: "
                f"{len(heads) - 1 - heads.index(reply.egress_head)} replies or more were cut off"
            )
        if reply.egress_head not in heads:
            heads.append(reply.egress_head)

    def settle(self) -> None:
        """What has arrived so far may be told to the hospitals: a checkpoint is about to hold it."""
        for site, ids in self._arrived.items():
            self.acknowledged.setdefault(site, []).extend(ids)
        self._arrived.clear()
