"""What the events of a run add up to: rounds, hospitals, time left. No drawing here."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_STAGES = {
    "load": "loading images",
    "model": "building the model",
    "features": "pooled features",
    "validate": "validating",
    "train": "training",
    "fetch": "fetching the model",
    "send": "sending the update",
}
_OF_BYTES = ("fetch", "send")
_HOSPITAL_STATES = {
    "waiting": "not connected",
    "working": "working since {clock}",
    "approval": "waits since {clock} for a person there to agree",
    "lost": "task lost on the way, sent again",
    "replied": "replied",
    "late": "late",
    "failed": "failed",
    "missing": "missing",
}
_SERVER_STAGES = {
    "load": "loading images",
    "evaluate": "central evaluation",
    "wait": "waiting for hospitals",
    "aggregate": "averaging",
}


@dataclass
class SiteProgress:
    """The latest that is known of one hospital."""

    stage: str | None = None
    round: int | None = None
    done: int = 0
    total: int = 0
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    failure: str | None = None
    stage_started: float = 0.0
    done_before: int = 0  # when the stage began
    rate: float | None = None  # bytes a second, of a stage in which bytes pass
    state: str | None = None  # what the server of a consortium knows: stage and batches are shown at the hospital
    since: float = 0.0

    @property
    def trained_share(self) -> float:
        """Share of this round's training that is done, from 0 to 1."""
        if self.stage != "train" or not self.total:
            return 0.0
        share = min(self.done / self.total, 1.0)
        return share if not self.epochs else min(((self.epoch or 1) - 1 + share) / self.epochs, 1.0)

    @property
    def finished(self) -> bool:
        """Whether the stage has reached its end, in its last epoch; in a consortium, whether the hospital replied."""
        if self.state is not None:
            return self.state == "replied"
        return self.total > 0 and self.done >= self.total and (not self.epochs or self.epoch == self.epochs)

    @property
    def passes(self) -> bool:
        """Whether bytes are on their way."""
        return self.stage in _OF_BYTES and self.rate is not None and self.done < self.total

    @property
    def words(self) -> str:
        if self.failure is not None:
            return f"failed: {self.failure}"
        if self.state is not None and not self.passes:
            words = _HOSPITAL_STATES.get(self.state, self.state)
            return words.format(clock=time.strftime("%H:%M", time.localtime(self.since)))
        if self.stage is None:
            return "waiting"
        text = _STAGES.get(self.stage, self.stage)
        if self.finished:
            return f"{text} done"
        if self.rate:
            return f"{text}, {self.rate / 1e6:.1f} MB/s, {clock((self.total - self.done) / self.rate)} left"
        return f"{text} {self.epoch}/{self.epochs}" if self.stage == "train" and (self.epochs or 1) > 1 else text

    @property
    def amount(self) -> str:
        """How much of the stage is done."""
        if self.stage in _OF_BYTES:
            return f"{self.done / 1e6:.1f}/{self.total / 1e6:.1f} MB"
        return f"{self.done:>5}/{self.total:<5}"


@dataclass
class RunProgress:
    """A whole run; ``apply`` takes one event after the other."""

    name: str = ""
    rounds: int = 0
    round: int = 0
    started: float | None = None
    now: float = 0.0
    round_started: float | None = None
    round_seconds: list[float] = field(default_factory=list)
    sites: dict[str, SiteProgress] = field(default_factory=dict)
    server: str | None = None
    server_done: int = 0
    server_total: int = 0
    status: str | None = None
    masks: str | None = None  # whose sum the newest round is that was masked, and what nobody can check
    on_this_machine: bool = False  # the hospitals' own events are seen and say more than what the server knows of them

    def apply(self, event: Mapping[str, Any]) -> None:
        self.now = max(self.now, event.get("time", self.now))
        handler = getattr(self, f"_on_{event['kind']}", None)
        if handler is not None:
            handler(event)

    def _on_run(self, event: Mapping[str, Any]) -> None:
        self.name, self.rounds = event.get("name", ""), event.get("rounds", 0)
        self.on_this_machine = event.get("mode") in ("simulate", "train")
        self.started = self.round_started = event.get("time")
        self.sites = {name: SiteProgress() for name in event.get("sites", ())}

    def _on_site(self, event: Mapping[str, Any]) -> None:
        site = self.sites.setdefault(event["site"], SiteProgress())
        if (site.stage, site.round) != (event.get("stage"), event.get("round")):
            site.stage_started, site.loss, site.rate = event.get("time", 0.0), None, None
        site.stage, site.round, site.failure = event.get("stage"), event.get("round"), None
        site.done, site.total = event.get("done") or 0, event.get("total") or 0
        if site.state is not None and site.done == site.total:  # at the lead, which sees no more of a task than this
            site.stage, site.done, site.total = None, 0, 0
        if site.stage in _OF_BYTES and (seconds := event.get("time", 0.0) - site.stage_started) > 0:
            site.rate = (site.done - site.done_before) / seconds
        else:
            site.done_before = site.done  # a line that goes on: not of this stage's seconds
        site.epoch, site.epochs = event.get("epoch"), event.get("epochs")
        site.loss = event.get("loss", site.loss)

    def _on_hospital(self, event: Mapping[str, Any]) -> None:
        if self.on_this_machine:
            return
        site = self.sites.setdefault(event["site"], SiteProgress())
        site.state, site.since = event.get("state"), event.get("since") or event.get("time") or 0.0
        site.stage, site.done, site.total = None, 0, 0
        if site.state not in ("failed", "missing"):
            site.failure = None

    def _on_server(self, event: Mapping[str, Any]) -> None:
        self.server = _SERVER_STAGES.get(event.get("stage", ""), event.get("stage", ""))
        self.server_done, self.server_total = event.get("done") or 0, event.get("total") or 0
        self.round = max(self.round, event.get("round") or 0)

    def _on_failure(self, event: Mapping[str, Any]) -> None:
        self.sites.setdefault(event["site"], SiteProgress()).failure = event.get("reason", "")

    def _on_round(self, event: Mapping[str, Any]) -> None:
        self.rounds = event.get("rounds", self.rounds)
        if event["round"] > 0:
            self.round_seconds.append(event.get("seconds") or 0.0)
        self.round = min(event["round"] + 1, self.rounds)
        self.round_started = event.get("time")
        for name, site in self.sites.items():
            self.sites[name] = SiteProgress(failure=site.failure, state=site.state, since=site.since)

    def _on_note(self, event: Mapping[str, Any]) -> None:
        if event.get("about") == "masks":
            self.masks = event.get("text")

    def _on_end(self, event: Mapping[str, Any]) -> None:
        self.status = event.get("status")

    def elapsed(self, now: float) -> float:
        return 0.0 if self.started is None else max(now - self.started, 0.0)

    def time_left(self, now: float) -> float | None:
        """Seconds until the last round is closed, by the pace so far; None while there is no pace to go by."""
        if self.round_started is None or not self.rounds:
            return None
        in_round = max(now - self.round_started, 0.0)
        if self.round_seconds:
            pace = sum(self.round_seconds) / len(self.round_seconds)
        else:
            share = sum(site.trained_share for site in self.sites.values()) / max(len(self.sites), 1)
            if self.round < 1 or share < 0.2:
                return None
            pace = in_round / share
        open_rounds = self.rounds - len(self.round_seconds)
        return max(open_rounds * pace - in_round, 0.0) if open_rounds else 0.0


def clock(seconds: float) -> str:
    """``1:05`` or ``2:03:04``."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
