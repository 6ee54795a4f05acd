"""Does the memory of a consortium's server grow with the number of hospitals?

    python benchmarks/server_memory.py
    python benchmarks/server_memory.py --hospitals 2 64 --rounds 1

A real lead: SuperLink, gateway, ServerApp, TLS, node authentication. The hospitals are fakes: one process speaks
Flower's protocol for all of them, each with a key and a connection of its own. The first does its tasks with the site
worker (the twin EfficientNet-B0, 13.4 million weights, at 32 pixels); the others fetch every byte of the model too,
let it go, and answer with the same reply in their own names, so a round brings the server a model of 53 MB from each.
Memory is resident memory, looked at twenty times a second; the peak of SuperLink and ServerApp together is the largest
sum at one moment.
"""

import argparse
import contextlib
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import httpx
import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
PARTS = ("superlink", "serverapp", "gateway")
EXPERIMENT = """\
name: memory
seed: 1
labels: {{findings: [{findings}], cancer_classes: [{classes}]}}
data:
  hospitals: {{{hospitals}}}
  central: {{xray: data/central/xray, ct: data/central/ct}}
model: {{backbone: EfficientNetB0, weights: none, batch_norm: train, image_size: {size}}}
training: {{batch_size: 16, threads: 1, phases: [{{rounds: {rounds}, trainable: all, learning_rate: 1e-4}}]}}
federation: {{connect_timeout_s: 600}}
evaluation: {{bootstrap_samples: 20, partners: 1}}
output: {{keep_checkpoints: 1}}
"""
SIZE = 32  # of the images, in pixels: the weights are as many as at any other


class Fakes:
    """Hospitals that share one worker: ``first`` works, the others wait for what it answers."""

    def __init__(self, first: str, place: Path) -> None:
        from fedthorax.client.process import SiteProcess
        from fedthorax.client.segment_store import SegmentStore

        self._first, self._data = first, place / "data"
        self._process = SiteProcess(segments=SegmentStore(place / "segments"))
        self._lock, self._answers = threading.Lock(), {}

    def works(self, site: str) -> bool:
        return site == self._first

    def answer(self, task):
        from fedthorax.common.messages.replies import REPLIES

        if task.kind in ("present", "finish"):
            return REPLIES[task.kind](kind=task.kind, site=task.site, round=task.round, task_id=task.id)
        with self._lock:
            future = self._answers.setdefault(
                (task.kind, task.round, getattr(task, "splits", ()), getattr(task, "held", ())), Future()
            )
            if task.site == self._first:
                for kind in list(self._answers):  # what is over is not needed any more
                    if kind[1] < task.round - 1:
                        del self._answers[kind]
        if task.site == self._first and not future.done():
            future.set_result(self._process.worker.run(self._with_images(task)))
        return future.result(600).model_copy(update={"site": task.site, "task_id": task.id, "egress_head": ""})

    def _with_images(self, task):
        settings = json.loads(task.experiment)
        images = {kind: str(self._data / "north" / kind) for kind in ("xray", "ct")}
        settings["data"]["hospitals"] = dict.fromkeys(settings["data"]["hospitals"], images)
        return task.model_copy(update={"experiment": json.dumps(settings)})


class Objects:
    """What a carrier does for a hospital: weights come and go past Flower's messages."""

    def __init__(self, key, certificate: Path, address: str) -> None:
        context = ssl.create_default_context(cafile=certificate)
        self._key, self._client = key, httpx.Client(base_url=f"https://{address}", verify=context, timeout=300)

    def fetched(self, task, parcel, keep: bool):
        """The task with its weights; where it does not ``keep`` them, without, as it came."""
        from fedthorax.common.messages.reading import with_segments

        hashes = [entry.sha256 for entry in parcel.contents.segments]
        found = {sha256: self._call("GET", task, sha256, keep=keep) for sha256 in hashes}
        return with_segments(task, parcel.with_data(found)) if hashes and keep else task

    def delivered(self, task, parcel):
        for entry, view in zip(parcel.contents.segments, parcel.data, strict=True):
            self._call("PUT", task, entry.sha256, bytes(view))
        return parcel.without_data()

    def _call(self, method, task, sha256, body=b"", keep=False):
        from fedthorax.common.consortium.objects import NO_BODY, Place, call_headers

        path = Place(task.run, task.id, sha256).path
        headers = call_headers(self._key, method, path, "", sha256 if body else NO_BODY)
        with self._client.stream(method, path, headers=headers, content=body or None) as answer:
            answer.raise_for_status()
            pieces = answer.iter_raw(1 << 18)
            return memoryview(b"".join(piece for piece in pieces if keep))


def serve(name: str, site: Path, address: str, fakes: Fakes) -> None:
    """What a SuperNode, its ClientApp and the carrier do for a hospital, without end."""
    from flwr.app import Message
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
    from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, push_objects
    from flwr.supernode.fleet_http_connection import http_request_response

    from fedthorax.client.site.call_signing import install
    from fedthorax.common.consortium.keys import read_private_key
    from fedthorax.common.messages.reading import read_task
    from fedthorax.common.messages.sending import closed, from_flower, to_flower

    key = read_private_key(site / "keys" / "site.key")
    certificate = (site / "ca.crt").read_bytes()
    objects = Objects(key, site / "ca.crt", address)
    install()
    with http_request_response(address, False, certificate, (key, key.public_key())) as connection:
        _, receive, send, _, _, pull, push, confirm = connection
        while True:
            found = receive()
            if found is None:
                time.sleep(0.5)
                continue
            message, tree = found
            run = message.metadata.run_id
            content = pull_and_inflate_object_from_tree(tree, partial(pull, run), partial(confirm, run)).content
            parcel = from_flower(content)
            task = read_task(parcel)
            if parcel.light:
                task = objects.fetched(task, parcel, fakes.works(site.name))
            answer = closed(fakes.answer(task))
            reply = Message(to_flower(objects.delivered(task, answer) if task.by_address else answer), reply_to=message)
            del content, parcel, task, answer
            reply.metadata.__dict__["_message_id"] = reply.object_id
            wanted, session = send(reply, get_object_tree(reply), 0.0)
            push_objects(get_all_nested_objects(reply), partial(push, run, session), object_ids_to_push=wanted)


def fake_hospitals(place: Path, address: str, names: list[str]) -> None:
    from fedthorax.cli.quiet import quiet_libraries

    quiet_libraries()
    fakes = Fakes(names[0], place)
    for name in names:
        threading.Thread(target=serve, args=(name, place / name, address, fakes), daemon=True).start()
    sys.stdin.read()  # until the benchmark ends


class Memory:
    """Peaks in MiB of the server's processes, by part and of SuperLink and ServerApp together."""

    def __init__(self, lead) -> None:
        self._lead, self._over = lead, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.peaks = dict.fromkeys((*PARTS, "together"), 0.0)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        pids: dict[str, int] = {}
        while not self._over.wait(0.05):
            now = {}
            for part in PARTS:
                if part not in pids and (pid := self._lead.pid("lead", part)):
                    pids[part] = pid
                with contextlib.suppress(psutil.Error, KeyError):
                    now[part] = psutil.Process(pids[part]).memory_info().rss / 2**20
            now["together"] = now.get("superlink", 0.0) + now.get("serverapp", 0.0)
            for part, found in now.items():
                self.peaks[part] = max(self.peaks[part], found)


def measured(place: Path, hospitals: int, rounds: int) -> dict[str, float]:
    from benchmarks.round import CLASSES, FINDINGS, draw_images
    from fedthorax.client.site.setup import init_site
    from fedthorax.server.consortium.admission import admit
    from fedthorax.server.consortium.folder import open_consortium
    from tests.e2e.consortium import Consortium
    from tests.waiting import free_port

    draw_images(place / "data", SIZE, pairs={"train": 16, "valid": 16})
    names = [f"h{number:02}" for number in range(hospitals)]
    labels = {"findings": ", ".join(FINDINGS), "classes": ", ".join(CLASSES)}
    listed = ", ".join(f"{name}: null" for name in names)
    text = EXPERIMENT.format(hospitals=listed, size=SIZE, rounds=rounds, **labels)
    (place / "memory.yaml").write_text(text, encoding="utf-8")
    lead = Consortium(place, place / "data", tuple(names))
    address = f"127.0.0.1:{free_port()}"
    many = 4 * hospitals + 128  # all of them have this machine's address
    settings = f"name: lead\naddress: {address}\nsuperlink_port: {free_port()}\nconnections_per_address: {many}\n"
    (place / "consortium.yaml").write_text(settings)
    lead.lead("server", "init", str(place / "consortium.yaml"))
    folder = open_consortium(lead.folder)
    for name in names:
        images = (place / "data" / "north" / kind for kind in ("xray", "ct"))
        made = init_site(name, *images, lead.folder / "invitation.json", place / name)
        admit(folder, made.registration, made.fingerprint)
    command = [sys.executable, __file__, "--place", str(place), "--address", address, "--names", *names]
    fakes = None
    try:
        lead.start_server()
        with (place / "fakes.txt").open("wb") as told:
            fakes = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told, stderr=told)
        lead.wait_connected()
        with Memory(lead) as memory:
            lead.lead("run", str(place / "memory.yaml"), seconds=3600.0)
    finally:
        if fakes is not None:
            fakes.kill()
            fakes.wait()
        lead.close()
    failures = [one["failures"] for one in lead.metrics("memory")["rounds"] if one["failures"]]
    if failures:
        raise RuntimeError(f"the run has failures: {failures[0]}")
    return memory.peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, nargs="+", default=[2, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a folder for what the runs leave, instead of a temporary one")
    for name in ("--place", "--address"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--names", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.names:
        fake_hospitals(Path(arguments.place), arguments.address, arguments.names)
        return
    peaks = {}
    print("| hospitals | SuperLink and ServerApp together | SuperLink | ServerApp | gateway | seconds |")
    print("|---|---|---|---|---|---|")
    for hospitals in arguments.hospitals:
        with contextlib.ExitStack() as stack:
            kept = arguments.keep and arguments.keep.absolute() / str(hospitals)
            place = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedthorax-")))
            place.mkdir(parents=True, exist_ok=True)
            begun = time.monotonic()
            peaks[hospitals] = found = measured(place, hospitals, arguments.rounds)
        cells = [f"{found[part]:.0f} MiB" for part in ("together", *PARTS)]
        print(f"| {hospitals} | {' | '.join(cells)} | {time.monotonic() - begun:.0f} |", flush=True)
    first, last = (peaks[arguments.hospitals[end]] for end in (0, -1))
    for part in ("together", *PARTS):
        print(f"{part}: {last[part] / first[part]:.2f} times the memory of {arguments.hospitals[0]} hospitals")


if __name__ == "__main__":
    main()
