"""What one hospital's update of the real size costs the server: CPU seconds and copies, beside Flower's own averaging.

    python benchmarks/aggregation.py

Thirteen million weights (53 MB) in seven segments, --updates hospitals, each step timed by itself with the process's
CPU clock; ours and Flower's turn by turn. The median is printed with the smallest and the largest. Bytes are those that
the step allocates at its peak beyond what it leaves behind, by tracemalloc, in a pass that is not timed: a copy of the
update would be 53 MB. Flower's figure is a third of what
flwr.serverapp.strategy.strategy_utils.aggregate_arrayrecords takes for three; it holds all until the last one is there.
"""

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from fedthorax.common.algorithms.branchwise import FederatedAverage
from fedthorax.common.messages.reading import read_reply
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.results import UpdateTold
from fedthorax.common.messages.sending import closed, from_flower, to_flower
from fedthorax.common.messages.tasks import TrainTask
from fedthorax.common.metrics.answers import class_answers, finding_answers
from fedthorax.common.metrics.heads import head_scores
from fedthorax.common.metrics.scores import Scores
from fedthorax.common.model.segments import SEGMENTS, Slot, segment_sha256
from fedthorax.common.record.run import FitTold
from fedthorax.common.wire.segment import pack_rounded, unpack
from fedthorax.server.claims import check_update
from fedthorax.server.steps import measured

SIZES = dict(zip(SEGMENTS, (4_049_571, 1_840_000, 4_049_571, 1_840_000, 1_580_000, 7_182, 2_052), strict=True))
MB = 1e6


class Layout:
    """What check_update and measured ask of a SegmentLayout."""

    slots = {name: (Slot(f"{name}/kernel", (size,), 0, size),) for name, size in SIZES.items()}  # noqa: RUF012

    def check_sizes(self, weights: dict[str, Any]) -> None:
        for name, values in weights.items():
            if values.size != SIZES[name]:
                raise ValueError(f"segment {name} has {values.size} values")

    def name_at(self, segment: str, index: int) -> str:
        return segment


def timed(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def peak(work: Callable[[], Any]) -> float:
    """MB that ``work`` needs for the time it runs."""
    tracemalloc.start()
    result = work()
    left, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del result
    return (most - left) / MB


def some_scores() -> Scores:
    """What goes along with an update: scores of four X-rays and four slices."""
    truth, guess = np.array([[1.0], [1], [0], [0]]), np.array([[0.9], [0.4], [0.6], [0.1]])
    found = {
        "disease": head_scores(finding_answers(truth, guess, ("Mass",))),
        "cancer": head_scores(
            class_answers(np.array([0, 0, 0, 1]), np.hstack([guess, 1 - guess]), ("normal", "tumour"))
        ),
    }
    return Scores.model_validate_json(json.dumps(dict.fromkeys(("loss", "disease_loss", "cancer_loss"), 1.0) | found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=9)
    arguments = parser.parse_args()
    rng = np.random.default_rng(1)
    model = {name: rng.normal(0, 0.05, size).astype(np.float32) for name, size in SIZES.items()}
    update = {name: values + rng.normal(0, 1e-4, values.size).astype(np.float32) for name, values in model.items()}
    sha256 = {name: segment_sha256(values) for name, values in model.items()}
    frames = {n: pack_rounded("int4", update[n], model[n], sha256[n], [], None).pack for n in SEGMENTS}
    fit = FitTold(loss=1.0, disease_loss=1.0, cancer_loss=1.0, pairs=3, steps=1, epochs=1, seconds=1.0)
    told, asked = UpdateTold(valid=some_scores(), train=fit), TrainTask(site="north", round=1)
    plain, packed = (
        to_flower(closed(TrainReply(site="north", round=1, results=told, **carried)))
        for carried in ({"weights": update}, {"packed": frames})
    )

    def decode_reply(record: Any) -> Any:
        return read_reply(from_flower(record), asked)

    average, layout = (
        FederatedAverage(SIZES),
        SimpleNamespace(**{n: getattr(Layout(), n) for n in ("check_sizes", "name_at", "slots")}),
    )
    average.add(update, 3)  # the first one makes room for the sums
    reply = decode_reply(plain)
    records = [
        RecordDict(
            {
                "weights": ArrayRecord({name: Array(values) for name, values in update.items()}),
                "metrics": MetricRecord({"num-examples": 3}),
            }
        )
        for _ in range(3)
    ]
    steps: dict[str, Callable[[], Any]] = {
        "read it from Flower's message": lambda: decode_reply(plain),
        "read it packed as int4": lambda: {
            n: unpack(d, lambda _, n=n: model[n], model[n].size) for n, d in decode_reply(packed).packed.items()
        },
        "check sizes and values": lambda: check_update(reply, layout, SEGMENTS),  # type: ignore[arg-type]
        "norm of the step": lambda: measured(update, model, layout),
        "add it to the sums": lambda: average.add(update, 3),
        "mean, once a round": lambda: average.result(model),
    }
    spent: dict[str, list[float]] = {name: [] for name in (*steps, "flower")}
    for _ in range(arguments.updates):
        for name, work in steps.items():
            spent[name].append(timed(work))
        spent["flower"].append(timed(lambda: aggregate_arrayrecords(records, "num-examples")) / 3)
    size = 4 * sum(SIZES.values()) / MB
    print(
        f"one update of {size:.0f} MB, {arguments.updates} times\n"
        "| step | CPU s | peak MB beside its result |\n|---|---|---|"
    )
    for name, work in steps.items():
        print(f"| {name} | {shown(spent[name])} | {peak(work):.1f} |")
    mine = [name for name in steps if "int4" not in name and "once" not in name]
    whole = [sum(times) for times in zip(*(spent[name] for name in mine), strict=True)]
    print(f"| **an update from message to sum** | {shown(whole)} | |")
    print(f"| Flower's aggregate_arrayrecords, an update of three | {shown(spent['flower'])} | holds every update |")
    ratios = [flower / ours for flower, ours in zip(spent["flower"], spent["add it to the sums"], strict=True)]
    print(f"Flower's averaging takes {shown(ratios)} times as long as our sum")


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f}-{max(values):.3f})"


if __name__ == "__main__":
    main()
