"""What each codec costs: bytes both ways, time to pack and to unpack, and what it does to the update and to the scores.

    python benchmarks/codecs.py
    python benchmarks/codecs.py --scores configs/real.yaml --seeds 5 --set training.threads=1

The first trains the whole twin EfficientNet-B0 (64 pixels: the number of weights is that of 224) with three phantom
hospitals for --rounds rounds, once with each codec, over messages that are encoded and decoded as Flower carries them.
In the middle of the run one hospital loses everything it keeps. Bytes are those of all messages of the run. Times are
CPU seconds for one hospital's whole update. All runs begin with the same weights and draw the same pairs.

The second trains the heads on real data with each codec and seed, at the rate of the file, and compares the scores on
the central test split with those of float32, paired over patients and seeds (make real comes first).
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from fedthorax.cli.quiet import quiet_libraries

quiet_libraries()

from fedthorax.client.process import SiteProcess  # noqa: E402  after TensorFlow has been told to be quiet
from fedthorax.client.segment_store import SegmentStore  # noqa: E402
from fedthorax.client.site_store import SiteStore  # noqa: E402
from fedthorax.common.config import Experiment  # noqa: E402
from fedthorax.common.config.load import load_experiment, to_yaml  # noqa: E402
from fedthorax.common.ground.events import EventLog  # noqa: E402
from fedthorax.common.messages.message import Reply, Task  # noqa: E402
from fedthorax.common.messages.reading import read_reply, read_task  # noqa: E402
from fedthorax.common.messages.sending import closed, from_flower, num_bytes, to_flower  # noqa: E402
from fedthorax.common.messages.tasks import ModelTask, sent_arrays  # noqa: E402
from fedthorax.common.model.segments import Weights, segment_sha256  # noqa: E402
from fedthorax.common.record.run_folder import RunFolder  # noqa: E402
from fedthorax.common.training.network import Network  # noqa: E402
from fedthorax.common.wire.parcel import Cargo  # noqa: E402
from fedthorax.common.wire.segment import pack_exactly, pack_rounded, unpack  # noqa: E402
from fedthorax.server.channel import LateReply, Notify  # noqa: E402
from fedthorax.server.checkpoints import Checkpoints  # noqa: E402
from fedthorax.server.resume import OpenRun  # noqa: E402
from fedthorax.server.session import build_network, run_session  # noqa: E402
from fedthorax.simulations.phantom import phantom_arguments, write_phantom  # noqa: E402

CODECS = ("float32", "lossless", "int8", "int4")
MB = 1e6


@dataclass
class WireChannel:
    """Hospitals in this process, over messages as they travel; each keeps what a hospital keeps in a folder of its own.

    Before the training task of round ``loses[0]`` the hospital ``loses[1]`` loses its folder.
    """

    process: SiteProcess
    folder: Path
    sites: Sequence[str]
    loses: tuple[int, str] | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    by_site: dict[str, int] = field(default_factory=dict)

    def watch(self, notify: Notify) -> None:
        """Nobody looks."""

    def gather(self, required: int) -> frozenset[str]:
        return frozenset(self.sites)

    def exchange(self, tasks: Sequence[Task], enough: Callable[[], bool]) -> Iterator[Reply]:
        yield from map(self._answer, tasks)

    def late(self) -> list[LateReply]:
        return []

    def _answer(self, task: Task) -> Reply:
        place, worker = self.folder / task.site, self.process.worker
        if (task.kind, task.round, task.site) == ("train", *(self.loses or ())):
            shutil.rmtree(place)
        worker.segments, worker.own = SegmentStore(place / "segments"), SiteStore(place / "own")
        while True:
            record = to_flower(closed(task, Cargo.of(sent_arrays(task))))
            down = num_bytes(record)
            answer = to_flower(closed(worker.run(read_task(from_flower(record)))))
            up = num_bytes(answer)
            self.bytes_sent += down
            self.bytes_received += up
            self.by_site[task.site] = self.by_site.get(task.site, 0) + down + up
            reply = read_reply(from_flower(answer), task)
            if reply.error is not None:
                raise RuntimeError(reply.error)
            if not reply.lacking:
                return reply
            assert isinstance(task, ModelTask)
            held = tuple(name for name in task.held if name not in reply.lacking)
            packed = {name: data for name, data in task.packed.items() if name not in reply.lacking}
            task = task.model_copy(update={"held": held, "packed": packed})


def phantom_experiment(folder: Path, config: Path, rounds: int) -> Experiment:
    """The demo's experiment on phantoms of its own, everything trained in every round, from random weights."""
    summary = write_phantom(folder / "data", phantom_arguments(3, patients=12, image_size=96, seed=1))
    settings = yaml.safe_load(to_yaml(load_experiment(config)))
    data = folder / "data"
    settings["data"]["hospitals"] = {
        name: {"xray": str(data / name / "xray"), "ct": str(data / name / "ct")}
        for name in summary.sites
        if not name.startswith("central")
    }
    settings["data"]["central"] = {"xray": str(data / "central" / "xray"), "ct": str(data / "central" / "ct")}
    settings["training"]["phases"] = [{"rounds": rounds, "trainable": "all", "local_epochs": 1}]
    settings["output"] = {"folder": str(folder / "runs")}
    return Experiment.model_validate(settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--codecs", nargs="+", default=list(CODECS))
    parser.add_argument("--repeats", type=int, default=5, help="Of packing and unpacking; the median is printed.")
    parser.add_argument("--scores", type=Path, metavar="CONFIG", help="Compare scores on real data instead.")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/codecs"))
    arguments = parser.parse_args()
    if arguments.scores:
        compare_scores(arguments.scores, arguments.overrides, arguments.codecs, arguments.seeds, arguments.out)
        return
    with tempfile.TemporaryDirectory() as name:
        compare_bytes(Path(name), arguments.config, arguments.rounds, arguments.codecs, arguments.repeats)


def compare_bytes(folder: Path, config: Path, rounds: int, codecs: Sequence[str], repeats: int) -> None:
    experiment = phantom_experiment(folder, config, rounds)
    network, store = build_network(experiment)
    first = network.layout.read()
    size = sum(network.layout.sizes.values())
    print(f"{size / MB:.1f} million weights, {len(experiment.data.hospitals)} hospitals, {rounds} rounds of everything")
    print(
        f"plain Flower, three times the model a round: {3 * 4 * size / MB:.0f} MB per hospital and round\n"
        "| codec | down MB | up MB | both MB | both, hospital that lost all | pack s | unpack s | error of an update | "
        "distance to float32 |\n|---|---|---|---|---|---|---|---|---|"
    )
    reference: Weights | None = None
    for codec in codecs:
        federation = experiment.federation.model_copy(update={"codec": codec})
        of = experiment.model_copy(update={"federation": federation, "name": codec})
        names = tuple(of.data.hospitals)
        network.layout.write(first)
        process = SiteProcess(EventLog(None))
        process.worker._build_network = lambda *_: (network, store)  # traced once for all codecs
        channel = WireChannel(process, folder / "hospitals" / codec, names, (rounds // 2 + 1, names[1]))
        with RunFolder.create(of.run_folder) as run:
            run_session(of, names, channel, OpenRun(run), "train", lambda _: (network, store))
            checkpoints = Checkpoints(run.checkpoints, of.output.keep_checkpoints)
            last, before = (checkpoints.load(number).weights for number in (rounds, rounds - 1))
        reference = last if reference is None else reference
        change = {name: last[name] - before[name] for name in last}
        apart = norm({name: last[name] - reference[name] for name in last})
        moved = norm({name: reference[name] - first[name] for name in last})
        pack_s, unpack_s, error = costs(codec, network, before, last, repeats)
        per = len(names) * rounds * MB
        print(
            f"| {codec} | {channel.bytes_sent / per:.1f} | {channel.bytes_received / per:.1f} | "
            f"{(channel.bytes_sent + channel.bytes_received) / per:.1f} | "
            f"{channel.by_site[names[1]] / rounds / MB:.1f} | {pack_s:.2f} | {unpack_s:.2f} | "
            f"{error / norm(change):.3f} | {apart / moved:.3f} |",
            flush=True,
        )


def norm(weights: Weights) -> float:
    return float(np.sqrt(sum(float(np.dot(values, values)) for values in weights.values())))


def costs(codec: str, network: Network, before: Weights, after: Weights, repeats: int) -> tuple[float, float, float]:
    """CPU seconds to pack and to unpack all segments (median), and the norm of what rounding left out."""
    if codec == "float32":
        return 0.0, 0.0, 0.0
    sha256 = {name: segment_sha256(values) for name, values in before.items()}
    packing, unpacking, left = [], [], {}
    for _ in range(repeats):
        begun, frames = time.process_time(), {}
        for name, values in after.items():
            if codec == "lossless":
                frames[name] = pack_exactly(values, before[name], sha256[name])
            else:
                packed = pack_rounded(codec, values, before[name], sha256[name], network.layout.exact(name), None)
                frames[name], left[name] = packed.pack, packed.residual
        packing.append(time.process_time() - begun)
        begun = time.process_time()
        for name, frame in frames.items():
            unpack(frame, lambda _, name=name: before[name], before[name].size)
        unpacking.append(time.process_time() - begun)
    return statistics.median(packing), statistics.median(unpacking), norm(left)


def compare_scores(config: Path, overrides: list[str], codecs: Sequence[str], seeds: int, out: Path) -> None:
    from local_runs import (
        ACCURACY,
        CANCER,
        DISEASE,
        SINGLE_PAIR,
        central_without,
        compared,
        figure_of,
        predictions_of,
        resamples_of,
    )
    from real_data import Bench

    experiment = load_experiment(config, overrides, base=Path.cwd())
    rate = experiment.training.phases[0].learning_rate or experiment.training.learning_rate
    bench = Bench(experiment, out.absolute())
    central = central_without(experiment, [bench.sites["pooled"]])
    arms, facts = {}, {}
    figures = {"X-ray macro ROC-AUC": DISEASE, "CT macro ROC-AUC": CANCER, "CT accuracy": ACCURACY}
    for codec in codecs:
        federation = experiment.federation.model_copy(update={"codec": codec})
        bench.experiment = experiment.model_copy(update={"federation": federation})
        bench.out = out.absolute() / codec
        paths = [bench.run("federated", seed, rate) for seed in range(1, seeds + 1)]
        arms[codec] = [
            resamples_of(predictions_of(path, *bench.build(experiment), central, SINGLE_PAIR), central, experiment)
            for path in paths
        ]
        facts[codec] = {name: figure_of(arms[codec], figure) for name, figure in figures.items()}
        cells = [f"{value['value']:.4f} {value['interval']}" for value in facts[codec].values()]
        print(f"{codec}: {'; '.join(cells)}", flush=True)
        for name, figure in figures.items():
            if codec != codecs[0]:
                less = compared(arms[codec], arms[codecs[0]], figure)["difference"]
                facts[codec][f"{name} less {codecs[0]}"] = less
                print(f"  {name} less {codecs[0]}: {less['value']:+.4f}, 95 % interval {less['interval']}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "scores.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
