"""A whole run in one process in which one hospital answers every kind of task wrongly: it ends with a report."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fedthorax.common.config.load import absolute, load_experiment
from fedthorax.common.messages.message import Reply, Task, failed
from fedthorax.common.messages.reading import read_reply, read_task
from fedthorax.common.messages.sending import closed, from_flower, to_flower
from fedthorax.common.messages.tasks import sent_arrays
from fedthorax.common.wire.parcel import Cargo, pack_parcel

SPOILT = {  # south's replies, by kind and round of training; the others are to the best round, whichever that is
    ("train", 1): (rb'"seconds":[^,}]*', rb'"seconds":NaN'),
    ("train", 2): (rb'"results":', rb'"results":' + b"[" * 100_000),
    ("train", 3): (rb'"loss":[^,}]*', rb'"loss":"0.5"'),
    ("evaluate", None): (rb'"Effusion":', rb'"Hernia\\u001b[2J\\n":'),
    ("personalise", None): (rb'"kept":[^,}]*', rb'"kept":{}'),
}


class Channel:
    """Hospitals in this process whose messages travel as bytes; some of south's are changed on the way."""

    bytes_sent = bytes_received = 0

    def __init__(self, answer: Callable[[Task], Reply], sites: Sequence[str]) -> None:
        self.answer, self.sites = answer, sites

    def watch(self, notify: Any) -> None:
        """Nobody looks."""

    def gather(self, required: int) -> frozenset[str]:
        return frozenset(self.sites)

    def late(self) -> list[Any]:
        return []

    def exchange(self, tasks: Sequence[Task], enough: Any) -> Iterator[Reply]:
        for task in tasks:
            arrived = read_task(from_flower(to_flower(closed(task, Cargo.of(sent_arrays(task))))))
            parcel = closed(self.answer(arrived))
            reply_to = task.kind, task.round if task.kind == "train" else None
            if task.site == "south" and reply_to in SPOILT:
                text = re.sub(*SPOILT[reply_to], parcel.text, count=1)
                assert text != parcel.text
                parcel = pack_parcel(text, Cargo.of(parcel.arrays()))
            try:  # as server/flower_channel.py does
                yield read_reply(from_flower(to_flower(parcel)), task)
            except ValueError as error:
                yield failed(task, f"refused: {error}")


@pytest.mark.slow
def test_a_run_in_which_one_hospital_answers_everything_wrongly_ends_with_a_report(
    workplace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedthorax.client.process import SiteProcess
    from fedthorax.client.segment_store import SegmentStore
    from fedthorax.client.site_store import SiteStore
    from fedthorax.server.resume import open_run
    from fedthorax.server.session import run_session

    monkeypatch.chdir(workplace.folder)
    more = [
        "name=bad-replies",
        "federation.min_sites=1",
        "personalisation.fine_tune=[outputs]",
        f"output.folder={tmp_path}",
    ]
    experiment = absolute(load_experiment(workplace.folder / "tiny.yaml", more))
    process = SiteProcess(segments=SegmentStore(tmp_path / "segments"), own=SiteStore(tmp_path / "own"))
    sites = ("north", "south")
    with open_run(experiment, True) as run:
        outcome = run_session(experiment, sites, Channel(process.worker.run, sites), run, "simulate")
    assert outcome.status == "finished"
    rounds = [entry["failures"] for entry in outcome.metrics["rounds"]]
    failures = [one for found in rounds for one in found]
    assert {one["site"] for one in failures} == {"south"}
    assert [[one["stage"] for one in found][:1] for found in rounds] == [[], *[["train"]] * 3]
    assert [one["stage"] for one in rounds[3]][1:] in (["evaluate"] * number + ["personalise"] for number in (2, 3))
    assert all(one["reason"].startswith("refused: ") and one["reason"].isprintable() for one in failures)
    report = (run.folder.path / "report.html").read_text(encoding="utf-8")
    assert "south" in report
    assert "\x1b" not in report
