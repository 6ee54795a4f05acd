"""The run as a person watches it: follows ``events.jsonl`` and draws it, or prints plain lines.

The display only reads. A run does not know whether anybody watches.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from fedthorax.cli.tables import number
from fedthorax.common.ground.events import EventTail
from fedthorax.common.ground.progress import RunProgress, SiteProgress, clock
from fedthorax.common.ground.wording import number_of

POLL_SECONDS = 0.25
_BAR_WIDTH = 14
_NAME_WIDTH = 14
_HEAD = (
    "            --- X-ray findings ---   --------- CT classes ----------",
    "   round      loss ROC-AUC      F1      loss accuracy ROC-AUC      F1   seconds",
)


def round_line(event: Mapping[str, Any]) -> str:
    """One row of the score table: the central validation scores after a round."""
    central = event.get("central") or {}
    disease, cancer = central.get("disease") or {}, central.get("cancer") or {}
    of_disease, of_cancer = disease.get("macro") or {}, cancer.get("macro") or {}
    return (
        f"{event['round']:>4}/{event.get('rounds', 0):<3}"
        f"{number(central.get('disease_loss'), 4):>10}"
        f"{number(of_disease.get('roc_auc')):>8}"
        f"{number(of_disease.get('f1')):>8}"
        f"{number(central.get('cancer_loss'), 4):>10}"
        f"{number(cancer.get('accuracy')):>9}"
        f"{number(of_cancer.get('roc_auc')):>8}"
        f"{number(of_cancer.get('f1')):>8}"
        f"{number(event.get('seconds'), 0):>10}"
    )


def failure_line(failure: Mapping[str, Any]) -> str:
    return f"         {failure.get('site')} failed: {failure.get('reason')}"


class RunDisplay:
    """Takes events and writes them to a console: a live picture on a terminal, lines elsewhere."""

    def __init__(self, output: Console) -> None:
        self.output = output
        self.progress = RunProgress()
        self._rows = 0
        self._told: set[tuple[Any, ...]] = set()

    def take(self, event: Mapping[str, Any]) -> None:
        self.progress.apply(event)
        kind = event["kind"]
        if kind == "round":
            self._round(event)
        elif kind == "failure":
            self._tell_failure(event)
        elif kind == "note":
            self._line(f"note: {event.get('text', '')}", "yellow")
        elif kind == "run":
            sites = event.get("sites", ())
            who = f"{'hospital' if len(sites) == 1 else 'hospitals'} {', '.join(sites)}"
            self._line(f"run {event.get('name')}: {number_of(event.get('rounds', 0), 'round')}, {who}", "bold")
        elif kind == "site" and not self.output.is_terminal:
            self._plain_site(event)
        elif kind == "hospital" and not self.output.is_terminal and not self.progress.on_this_machine:
            self._plain_hospital(event)

    def _line(self, text: str, style: str = "") -> None:
        self.output.print(Text(text, style=style))

    def _round(self, event: Mapping[str, Any]) -> None:
        if self._rows % 20 == 0:
            self._line("central validation, macro means over findings and classes")
            for head in _HEAD:
                self._line(head, "bold")
        self._rows += 1
        self._line(round_line(event))
        for failure in event.get("failures") or ():
            self._tell_failure({"round": event["round"], **failure})

    def _tell_failure(self, failure: Mapping[str, Any]) -> None:
        known = (failure.get("site"), failure.get("round"))
        if known not in self._told:
            self._told.add(known)
            self._line(failure_line(failure), "red")

    def _plain_site(self, event: Mapping[str, Any]) -> None:
        site = self.progress.sites[event["site"]]
        known = (event["site"], event.get("round"), event.get("stage"))
        if known in self._told or not site.finished or event.get("stage") not in ("load", "train"):
            return
        self._told.add(known)
        seconds = max(event.get("time", 0.0) - site.stage_started, 0.0)
        if event["stage"] == "load":
            self._line(f"{event['site']}: {number_of(site.total, 'image')} loaded in {seconds:.0f} s")
        else:
            loss = "" if site.loss is None else f", loss {site.loss:.4f}"
            self._line(
                f"round {event.get('round')}/{self.progress.rounds}: {event['site']} trained in {seconds:.0f} s{loss}"
            )

    def _plain_hospital(self, event: Mapping[str, Any]) -> None:
        site = self.progress.sites[event["site"]]
        known = (event["site"], self.progress.round, event.get("state"))
        if event.get("state") == "failed" or known in self._told:  # a failure has its own line, with the reason
            return
        self._told.add(known)
        self._line(f"round {self.progress.round}/{self.progress.rounds}: {event['site']} {site.words}")

    def picture(self, now: float) -> RenderableType:
        """The live part: a header, one line a hospital, the server."""
        progress = self.progress
        left = progress.time_left(now)
        header = Text.assemble(
            (progress.name or "starting", "bold"),
            f"  round {progress.round}/{progress.rounds}" if progress.rounds else "",
            f"  {clock(progress.elapsed(now))} elapsed",
            "" if left is None else f"  about {clock(left)} left",
        )
        width = max((cell_len(name) for name in progress.sites), default=0)
        width = min(max(width, len("server")), _NAME_WIDTH)
        ascii_only = self.output.options.ascii_only
        lines = [_site_line(name, site, width, ascii_only) for name, site in progress.sites.items()]
        if progress.server is None:  # at a hospital, which does not see the server's work
            return Group(header, *lines)
        server = _line("server", progress.server, width, "dim")
        if progress.server_total:
            server += _bar(progress.server_done / progress.server_total, ascii_only)
        return Group(header, *lines, server)


def _line(name: str, words: str, width: int, style: str = "") -> Text:
    line = Text("  ", no_wrap=True, overflow="ellipsis")
    line.append(set_cell_size(name, width) if cell_len(name) <= width else set_cell_size(name, width - 1) + "…")
    return line.append(f"  {words:<22}  ", style=style)


def _site_line(name: str, site: SiteProgress, width: int, ascii_only: bool) -> Text:
    """Name, what it does, how far, the loss; a failure takes the rest of the line."""
    style = "red" if site.failure is not None else "green" if site.finished else ""
    line = _line(name, site.words, width, style)
    if site.failure is not None or not site.total:
        return line
    line.append(_bar(site.done / site.total, ascii_only))
    line.append(site.amount)
    return line if site.loss is None else line.append(f" loss {site.loss:.3f}")


def _bar(share: float, ascii_only: bool) -> Text:
    full = round(min(share, 1.0) * _BAR_WIDTH)
    mark = "#" if ascii_only else "━"
    return Text(mark * full, "cyan").append(("-" if ascii_only else mark) * (_BAR_WIDTH - full), "bright_black")


@contextmanager
def watched(events_file: Path, output: Console, since: float | None = None) -> Iterator[RunDisplay]:
    """Show the run that is about to write ``events_file`` until the block ends; all events are shown by then.

    Events older than ``since`` (Unix seconds), or without it than the block, are those of an earlier run of the same
    name and are passed over.
    """
    display = RunDisplay(output)
    since, finish = time.time() if since is None else since, threading.Event()
    live = Live(console=output, refresh_per_second=4, transient=True) if output.is_terminal else None

    def follow() -> None:
        tail = EventTail(events_file)
        while True:
            last = finish.is_set()
            for event in tail.read()[0]:
                if event.get("time", since) >= since:
                    display.take(event)
            if last:
                return
            if live is not None:
                live.update(display.picture(time.time()))
            finish.wait(POLL_SECONDS)

    if live is not None:
        live.start()
    follower = threading.Thread(target=follow, name="progress", daemon=True)
    follower.start()
    try:
        yield display
    finally:
        finish.set()
        follower.join()
        if live is not None:
            live.update("")
            live.stop()
