"""What does a federated round cost beside its training? Ours, Flower's quickstart, NVFlare's recipe.

    python benchmarks/round.py --rounds 4
    python benchmarks/round.py --rounds 4 --only ours nvflare training
    python benchmarks/round.py --rounds 3 --only ours --mbit-per-s 20 --delay-ms 50
    python benchmarks/round.py --size 64 --backbone MobileNetV3Small --rounds 2  # whether everything works

Two hospitals, the twin EfficientNet-B0 at 224 pixels from random weights, in a round 32 pairs to train on (two steps
of 16) and 16 to score. Ours runs as a consortium: TLS, node authentication, the gateway, a worker at each hospital;
`ours-int8` and `ours-int4` are ours with that federation.codec, `ours-masked` with federation.secure_aggregation.
Flower's TensorFlow quickstart runs on a SuperLink and two SuperNodes without TLS, NVFlare's TensorFlow recipe in its
simulator; both as their documentation writes them (benchmarks/rivals), in environments that this program makes below
--out. `training` is the work alone: a process for each hospital that stays, without a server. One after the other.

With --mbit-per-s ours goes over a line of that speed, a proxy of this program's for each hospital; then every warm
round and hospital is told by itself: what lay between task, worker and reply, the bytes that passed meanwhile, and what
they take at that speed.

A warm round is any but the first. Its overhead is its wall time less the longer of both hospitals' own work in it. Ours
also scores the server's own images (16 pairs), which the others do not: that time is told apart and taken off too.
"""

import argparse
import contextlib
import csv
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

HOSPITALS = ("north", "south")
PAIRS = {"train": 32, "valid": 16}
FINDINGS = [f"finding_{number}" for number in range(14)]
CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")
RIVAL_PACKAGES = {"flower": ("flwr[simulation]==1.42.0",), "nvflare": ("nvflare==2.9.0",)}
EXPERIMENT = """\
name: round
seed: 1
labels: {{findings: [{findings}], cancer_classes: [{classes}]}}
data:
  hospitals:
    north: {{xray: data/north/xray, ct: data/north/ct}}
    south: {{xray: data/south/xray, ct: data/south/ct}}
  central: {{xray: data/central/xray, ct: data/central/ct}}
model: {{backbone: {backbone}, weights: none, batch_norm: train, image_size: {size}}}
training: {{batch_size: 16, threads: 1, phases: [{{rounds: {rounds}, trainable: all, learning_rate: 1e-4}}]}}
federation: {{codec: {codec}, secure_aggregation: {masked}, smallest_sum: 2}}
evaluation: {{bootstrap_samples: 20, partners: 1}}
output: {{keep_checkpoints: 2}}
"""


@dataclass(frozen=True)
class Work:
    """What all arms do."""

    rounds: int
    size: int  # of images
    backbone: str = "EfficientNetB0"
    codec: str = "float32"  # of ours
    mbit_per_s: float | None = None  # of each hospital's line, each way; None: loopback as it is. Ours only
    delay_ms: float = 0.0  # each way
    masked: str = "false"  # of ours, as YAML

    def experiment(self) -> str:
        """Ours, as YAML."""
        labels = {"findings": ", ".join(FINDINGS), "classes": ", ".join(CLASSES)}
        return EXPERIMENT.format(**vars(self), **labels)


@dataclass
class Timing:
    """Seconds of every round: wall, the longer of the hospitals' own work, and what the server scored meanwhile."""

    wall: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    central: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)  # of ours
    processor: list[dict[str, float]] = field(default_factory=list)  # of ours, CPU seconds
    lines: list[dict[str, dict[str, float]]] = field(default_factory=list)  # of ours on a slow line, by hospital

    @property
    def overhead(self) -> list[float]:
        """Of the warm rounds."""
        return [w - t - c for w, t, c in list(zip(self.wall, self.work, self.central, strict=True))[1:]]


def draw_images(
    folder: Path,
    size: int,
    seed: int = 1,
    pairs: Mapping[str, int] = PAIRS,
    hospitals: tuple[str, ...] = HOSPITALS,
) -> None:
    """Noise as PNG, in a hospital's layout, and the same as arrays for the others; new in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    chance = np.random.default_rng(seed)
    for number, site in enumerate((*hospitals, "central")):
        parts = {**pairs, "test": 16} if site == "central" else pairs
        rows, arrays = [], {}
        for part, count in parts.items():
            if site == "central" and part == "train":
                continue
            xrays, slices = (chance.integers(0, 256, (count, size, size), np.uint8) for _ in range(2))
            findings, classes = chance.integers(0, 2, (count, len(FINDINGS))), np.arange(count) % len(CLASSES)
            (folder / site / "xray").mkdir(parents=True, exist_ok=True)
            for index in range(count):
                name = f"{part}-{index}.png"
                Image.fromarray(xrays[index]).save(folder / site / "xray" / name)
                rows.append([name, f"{part}-{index}", part, *findings[index]])
                place = folder / site / "ct" / part / CLASSES[classes[index]] / f"{index}.png"
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(slices[index]).save(place)
            for name, images in (("xray", xrays), ("ct", slices)):
                arrays[f"{part}_{name}"] = np.repeat(images[..., None], 3, axis=-1)
            arrays |= {f"{part}_findings": findings.astype(np.float32), f"{part}_classes": classes}
        with (folder / site / "xray" / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["file", "patient_id", "split", *FINDINGS], *rows])
        np.savez(folder / f"hospital-{number}.npz", **arrays)


def ours(out: Path, work: Work) -> Timing:
    from fedthorax.common.ground.events import read_events
    from tests.e2e.consortium import consortium

    shutil.rmtree(out / "c", ignore_errors=True)
    (out / "round.yaml").write_text(work.experiment(), encoding="utf-8")
    timing = Timing()
    agreed = {"smallest_sum: 3": "smallest_sum: 2"}  # two hospitals that have agreed to sums of two
    cabled = work.mbit_per_s is not None
    with consortium(out / "c", out / "data", HOSPITALS, working=out, settings=agreed, cabled=cabled) as place:
        for cable in place.cables.values():
            cable.bytes_per_second, cable.delay = (work.mbit_per_s or 0) * 125_000, work.delay_ms / 1000
        place.trust_each_other()
        with ProcessorTimes(place) as spent, Passed(place.cables) as passed:
            place.lead("run", "round.yaml", seconds=3600.0)
        sites = {name: read_events(place.site(name) / "run" / "events.jsonl")[0] for name in HOSPITALS}
        metrics = place.metrics("round")
        marks = [marks_of(number, place.events("round"), sites) for number in range(1, work.rounds + 1)]
    for entry, mark in zip(metrics["rounds"][1:], marks, strict=True):
        timing.wall.append(entry["seconds"])
        timing.work.append(max(ended - begun for begun, ended in mark.worked.values()))
        timing.central.append(mark.scored - mark.averaged)
        timing.stages.append(mark.stages())
        timing.lines += (
            [{name: mark.line(name, passed, work.mbit_per_s) for name in HOSPITALS}] if work.mbit_per_s else []
        )
    timing.processor = spent.by_round()
    return timing


KINDS = {  # part of the command line → what it is
    "flower-superlink": "SuperLink",
    "gateway_process": "gateway",
    "flwr-serverapp": "ServerApp",
    "supernode_process": "SuperNodes",
    "site.carrier": "carriers",
    "flower-superexec": "SuperExecs and ClientApps",
    "site.clientapps": "SuperExecs and ClientApps",
    "site worker": "workers",
}


class ProcessorTimes:
    """CPU seconds of every kind of process at the end of each round; a clock would count the machine's other work."""

    def __init__(self, place) -> None:
        self._place, self._over = place, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._found: list[dict[str, float]] = []

    def __enter__(self) -> "ProcessorTimes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def by_round(self) -> list[dict[str, float]]:
        """From round 1 on. The ServerApp's holds central scoring too."""
        pairs = itertools.pairwise(self._found)
        return [{kind: after[kind] - before[kind] for kind in after} for before, after in pairs]

    def _look(self) -> None:
        from fedthorax.common.ground.events import read_events

        path, offset = self._place.run_folder("round") / "events.jsonl", 0
        while not self._over.wait(0.1):
            events, offset = read_events(path, offset)
            self._found += [self._now() for event in events if event["kind"] == "round"]

    def _now(self) -> dict[str, float]:
        spent = dict.fromkeys(KINDS.values(), 0.0)
        for process in self._place.processes():
            with contextlib.suppress(psutil.Error):  # ended meanwhile: what it spent is not known any more
                line = " ".join(process.cmdline())
                for part, kind in KINDS.items():
                    if part in line:
                        times = process.cpu_times()
                        children = times.children_user + times.children_system if "Exec" in kind else 0.0
                        spent[kind] += times.user + times.system + children
                        break
        return spent


class Passed:
    """What has passed each hospital's line, looked at fifty times a second."""

    def __init__(self, cables) -> None:
        self._cables, self._over = cables, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._found: list[tuple[float, dict[str, dict[str, int]]]] = []

    def __enter__(self) -> "Passed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def megabytes(self, name: str, way: str, begun: float, ended: float) -> float:
        before, after = (
            max((at for at in self._found if at[0] <= moment), key=lambda at: at[0]) for moment in (begun, ended)
        )
        return (after[1][name][way] - before[1][name][way]) / 1e6

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self._found.append((time.time(), {name: dict(cable.passed) for name, cable in self._cables.items()}))


@dataclass
class Marks:
    """Moments of one round of ours, in Unix seconds; by hospital where there are two."""

    opened: float  # the round before was closed
    sent: dict[str, float]  # the task lies at the SuperLink
    worked: dict[str, tuple[float, float]]  # the worker has the task; the last step is done
    replied: dict[str, float]  # the ServerApp has the reply
    averaged: float  # central scoring begins
    scored: float
    closed: float
    carried: dict[str, dict[str, tuple[float, float]]]  # by hospital: the first object begins, the last is through

    def line(self, name: str, passed: Passed, mbit_per_s: float) -> dict[str, float]:
        """Of one hospital's round: seconds, MB, and what these take at the line's speed."""
        (begun, ended), fetch, send = self.worked[name], self.carried[name]["fetch"], self.carried[name]["send"]
        sent, replied = self.sent[name], self.replied[name]
        down, up = passed.megabytes(name, "down", sent, replied), passed.megabytes(name, "up", sent, replied)
        return {
            "message down": fetch[0] - sent,
            "objects down": fetch[1] - fetch[0],
            "to the first step": begun - fetch[1],
            "own work": ended - begun,
            "to the first object up": send[0] - ended,
            "objects up": send[1] - send[0],
            "message up": replied - send[1],
            "all but own work": replied - sent - (ended - begun),
            "MB down": down,
            "MB up": up,
            "bytes / bandwidth": (down + up) * 8 / mbit_per_s,
        }

    def stages(self) -> dict[str, float]:
        """Seconds on the way of the hospital that replied last."""
        last = max(self.replied, key=lambda name: self.replied[name])
        begun, ended = self.worked[last]
        return {
            "the task is encoded and given to the SuperLink": self.sent[last] - self.opened,
            "the task goes to the worker": begun - self.sent[last],
            "**the worker scores and trains**": ended - begun,
            "the reply comes back": self.replied[last] - ended,
            "the last update is checked and averaged, or the sum unmasked": self.averaged - self.replied[last],
            "**central scoring**": self.scored - self.averaged,
            "intervals, checkpoint, record": self.closed - self.scored,
        }


def marks_of(number: int, server: list[dict], sites: dict[str, list[dict]]) -> Marks:
    """``server`` and ``sites`` are events, in order."""
    ends = {e["round"]: e["time"] for e in server if e["kind"] == "round"}
    opened, closed = ends[number - 1], ends[number]

    def within(events: list[dict], kind: str) -> list[dict]:  # the closing test comes later, under the same numbers
        return [e for e in events if e["kind"] == kind and opened < e["time"] < closed]

    worked, sent, replied, carried = {}, {}, {}, {}
    for name, events in sites.items():
        times: dict[str, list[float]] = {}
        for e in within(events, "site"):
            times.setdefault("work" if e["stage"] in _WORK else e["stage"], []).append(e["time"])
        spans = {stage: (min(found), max(found)) for stage, found in times.items()}
        worked[name], carried[name] = spans["work"], spans
    for e in within(server, "hospital"):  # a masked round asks twice: the second time for shares, while it averages
        {"working": sent, "replied": replied}.get(e["state"], {}).setdefault(e["site"], e["time"])
    scoring = [e["time"] for e in within(server, "server") if e["stage"] == "evaluate"]
    return Marks(opened, sent, worked, replied, min(scoring), max(scoring), closed, carried)


_WORK = ("model", "validate", "train")


def environment(out: Path, name: str) -> Path:
    """Python of the rival's own environment, with TensorFlow as we have it."""
    folder = out / f"{name}-environment"
    python, stamp = folder / "bin" / "python", folder / "installed"
    packages = (*RIVAL_PACKAGES[name], *(f"{one}=={version(one)}" for one in ("tensorflow", "keras")))
    wanted = "\n".join(packages) + "\n"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(command, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def rival_variables(out: Path, work: Work, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLWR", "PYTHON"))}
    path = os.pathsep.join([str(HERE / "rivals"), more.pop("path", "")])
    told = out / "told.txt"
    told.unlink(missing_ok=True)
    chosen = {
        "ROUND_TOLD": str(told),
        "ROUND_DATA": str(out / "data"),
        "ROUND_IMAGE_SIZE": str(work.size),
        "ROUND_BACKBONE": work.backbone,
    }
    return kept | chosen | {"PYTHONPATH": path} | more


def flower(out: Path, work: Work) -> Timing:
    """SuperLink, two SuperNodes, `flwr run`: the app of benchmarks/rivals/flower_app."""
    from tests.waiting import free_port

    python, place = environment(out, "flower"), out / "flower"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "rivals" / "flower_app", place / "app", ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    (place / "home").mkdir()
    (place / "home" / "config.toml").write_text(f'[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n')
    quiet = {"FLWR_HOME": str(place / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    variables = rival_variables(out, work, PATH=f"{python.parent}{os.pathsep}{os.environ['PATH']}", **quiet)
    link = ["flower-superlink", "--insecure", "--port", str(port), "--disable-runtime-dependency-installation"]
    nodes = [
        [
            *("flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{port}"),
            *("--port", str(free_port()), "--node-config", f"partition-id={number}"),
        ]
        for number in range(2)
    ]
    log = place / "log.txt"
    running = []
    with log.open("wb") as told:
        try:
            for command in (link, *nodes):
                running.append(started(command, place, variables, told))
                time.sleep(3)  # the quickstart has the server first, then the nodes; no figure depends on it
            command = ["flwr", "run", "app", "bench", "--stream", "--run-config", f"num-server-rounds={work.rounds}"]
            subprocess.run(command, cwd=place, env=variables, stdout=told, stderr=told, check=True, timeout=3600 * 3)
        finally:
            ended(running)
    return flower_timing(out, work.rounds, log)


def flower_timing(out: Path, rounds: int, log: Path) -> Timing:
    """Of the app of benchmarks/rivals/flower_app, from what it has told."""
    text = (out / "told.txt").read_text(encoding="utf-8")
    marks = {int(number): float(moment) for number, moment in re.findall(r"ROUND (\d+) ([\d.]+)", text)}
    if sorted(marks) != list(range(rounds + 1)):
        raise RuntimeError(f"Flower's run has not told all its rounds; see {log}")
    worked: dict[str, list[float]] = {}  # a hospital's training, scoring, training, scoring, ...
    for number, spent in re.findall(r"WORK (\d+) ([\d.]+)", text):
        worked.setdefault(number, []).append(float(spent))
    sums = [[train + score for train, score in zip(both[::2], both[1::2], strict=True)] for both in worked.values()]
    # A mark is set when the training is averaged; the round's scoring at the hospitals lies before the next mark.
    walls = [after - before for before, after in itertools.pairwise([*(marks[n] for n in range(rounds + 1))])]
    return Timing(walls, [max(both) for both in zip(*sums, strict=True)], [0.0] * rounds)


def nvflare(out: Path, work: Work) -> Timing:
    python, place = environment(out, "nvflare"), out / "nvflare"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "rivals" / "nvflare_app", place, ignore=shutil.ignore_patterns("__pycache__"))
    variables = rival_variables(out, work, path=str(place))
    log = place / "log.txt"
    with log.open("wb") as told:
        command = [python, "job.py", str(work.rounds), str(place / "workspace"), "--by-name"]
        subprocess.run(command, cwd=place, env=variables, stdout=told, stderr=told, check=True, timeout=3600)
    text = (out / "told.txt").read_text(encoding="utf-8")
    received: dict[int, list[float]] = {}
    worked: dict[int, list[float]] = {}
    for _, number, moment in re.findall(r"ROUND (\d) (\d+) ([\d.]+)", text):
        received.setdefault(int(number), []).append(float(moment))
    for _, number, spent in re.findall(r"WORK (\d) (\d+) ([\d.]+)", text):
        worked.setdefault(int(number), []).append(float(spent))
    ends = [float(moment) for _, moment in re.findall(r"END (\d) ([\d.]+)", text)]
    if len(worked) != work.rounds or not ends:
        raise RuntimeError(f"NVFlare's run has not told all its rounds; see {log}")
    starts = [min(received[number]) for number in range(work.rounds)] + [max(ends)]
    walls = [after - before for before, after in itertools.pairwise(starts)]
    return Timing(walls, [max(worked[number]) for number in range(work.rounds)], [0.0] * work.rounds)


def training(out: Path, work: Work) -> Timing:
    """Both hospitals' work at the same time, in two processes that stay."""
    program = (
        "import sys, time\nfrom network import compiled, hospital\nmodel = compiled()\n"
        "(inputs, targets), (valid_inputs, valid_targets) = hospital(int(sys.argv[1]))\n"
        "for _ in range(int(sys.argv[2])):\n    started = time.monotonic()\n"
        "    model.evaluate(valid_inputs, valid_targets, verbose=0)\n"
        "    model.fit(inputs, targets, epochs=1, batch_size=16, verbose=0)\n"
        "    print('WORK', time.monotonic() - started, flush=True)\n"
    )
    variables = rival_variables(out, work)
    command = [sys.executable, "-c", program]
    pair = [
        subprocess.Popen([*command, str(n), str(work.rounds)], env=variables, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    told = [[float(each) for each in re.findall(r"WORK ([\d.]+)", one.communicate()[0])] for one in pair]
    longer = [max(both) for both in zip(*told, strict=True)]
    return Timing(longer, longer, [0.0] * work.rounds)


def started(command: list[str], place: Path, variables: dict[str, str], told) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=place, env=variables, stdout=told, stderr=told, start_new_session=True)


def ended(running: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(running):
        os.killpg(process.pid, signal.SIGTERM)
    for process in running:
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


ARMS: dict[str, Callable[[Path, Work], Timing]] = {
    "ours": ours,
    "ours-int8": lambda out, work: ours(out, replace(work, codec="int8")),
    "ours-int4": lambda out, work: ours(out, replace(work, codec="int4")),
    "ours-masked": lambda out, work: ours(out, replace(work, masked="true")),
    "nvflare": nvflare,
    "training": training,
    "flower": flower,
}


def spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def print_lines(arm: str, rounds: list[dict[str, dict[str, float]]]) -> None:
    """Of warm rounds on a slow line."""
    columns = {f"{name}, round {number}": lines[name] for number, lines in enumerate(rounds, 1) for name in lines}
    columns = {head: column for head, column in columns.items() if not head.endswith("round 1")}
    if columns:
        print(f"| {arm} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
        for part in next(iter(columns.values())):
            print(f"| {part} | {' | '.join(f'{column[part]:.2f}' for column in columns.values())} |")
        over = [
            f"{100 * (column['all but own work'] / column['bytes / bandwidth'] - 1):.1f} %"
            for column in columns.values()
        ]
        print(f"| over bytes / bandwidth | {' | '.join(over)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--flower-rounds", type=int, default=2, help="every one of its rounds is cold, and takes minutes"
    )
    parser.add_argument("--only", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--backbone", default=Work.backbone)
    parser.add_argument("--mbit-per-s", type=float, help="of each hospital's line each way; of ours alone")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="of that line, each way")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/round"))
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    draw_images(out / "data", arguments.size)
    found: dict[str, Timing] = {}
    for name in arguments.only:
        print(f"{name}: {time.strftime('%H:%M:%S')}, load {os.getloadavg()[0]:.1f}", flush=True)
        rounds = arguments.flower_rounds if name == "flower" else arguments.rounds
        line = (arguments.mbit_per_s, arguments.delay_ms)
        found[name] = ARMS[name](out, Work(rounds, arguments.size, arguments.backbone, "float32", *line))
        print(f"  wall {spread(found[name].wall)}, load {os.getloadavg()[0]:.1f}", flush=True)
        facts = {arm: vars(timing) for arm, timing in found.items()}  # as soon as it is there: the next arm may fail
        (out / "summary.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print("| | first round, s | warm round, s | a hospital's own work in it, s | central scoring, s | overhead, s |")
    print("|---|---|---|---|---|---|")
    for name, timing in found.items():
        cells = [name, f"{timing.wall[0]:.1f}", spread(timing.wall[1:]), spread(timing.work[1:])]
        print(f"| {' | '.join([*cells, spread(timing.central[1:]), spread(timing.overhead)])} |")
    mine = [name for name in found if name.startswith("ours")]
    for name, other in itertools.product(mine, [name for name in ("flower", "nvflare") if name in found]):
        warm = statistics.median(found[other].wall[1:]) / statistics.median(found[name].wall[1:])
        first = found[name].wall[0] / found[other].wall[0]
        print(f"{other} / {name}, warm round: {warm:.2f}; {name} / {other}, first round: {first:.2f}")
    if "ours" in found:
        for name in mine[1:]:
            times = statistics.median(found[name].wall[1:]) / statistics.median(found["ours"].wall[1:])
            print(f"{name} / ours, warm round: {times:.2f}")
    for name in mine:
        for unit, rows in (("s", found[name].stages), ("CPU s", found[name].processor)):
            print(f"| {name} | {unit} |\n|---|---|")
            for part in rows[0]:
                print(f"| {part} | {spread([row[part] for row in rows[1:]])} |")
        print_lines(name, found[name].lines)


if __name__ == "__main__":
    main()
