"""What the ClientApp of a hospital costs beside Flower's own start.

    python benchmarks/thin_client.py

Starts a process that imports what ``flwr-clientapp`` imports and runs a ClientApp, once with an app that sends its
message back and once with FedThorax's, which carries a model of 13.4 million values (53 MB) to a site worker and back;
prints the CPU seconds of each process, the median of several, and the difference. The worker answers at once, from a
process of its own that is not counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_VALUES = 13_400_000

_COMMON = """\
import resource, sys
import flwr.supernode.cli.flwr_clientapp
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
import numpy as np
from flwr.app import ArrayRecord, Array, ConfigRecord
"""
_BARE = """
from flwr.clientapp import ClientApp
app = ClientApp()
@app.train()
def work(message, context):
    arrays = {name: array.numpy() for name, array in message.content.array_records["weights"].items()}
    record = ArrayRecord({name: Array(values) for name, values in arrays.items()})
    return Message(RecordDict({"weights": record}), reply_to=message)
"""
_OURS = """
from fedthorax.client_app import app
"""
_RUN = """
import json
from pathlib import Path
from fedthorax.common.messages.message import Task
from fedthorax.common.messages.sending import closed, to_flower
task = Task(kind="train", site="north", round=1, experiment=Path(sys.argv[2]).read_text(),
            weights={"fusion": np.zeros(int(sys.argv[3]), np.float32)})
content = to_flower(closed(task)) if sys.argv[4] == "ours" else RecordDict(
    {"weights": ArrayRecord({"fusion": Array(np.zeros(int(sys.argv[3]), np.float32))})})
TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
message = Message(content, dst_node_id=1, message_type="train")
message.metadata.__dict__.update(_message_id="m")
context = Context(run_id=1, node_id=1, node_config={"socket": sys.argv[1]}, state=RecordDict(), run_config={})
reply = app(message, context)
assert reply.has_content()
if sys.argv[4] == "ours":
    from fedthorax.common.messages.sending import from_flower
    answered = json.loads(from_flower(reply.content).text)
    assert answered.get("error") is None, answered["error"]
assert "tensorflow" not in sys.modules
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""
_WORKER = """
import sys
from pathlib import Path
from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import SiteSettings
from fedthorax.client.site.task_desk import TaskDesk
from fedthorax.client.site.worker_service import start_server
from benchmarks.aggregation import some_scores
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.messages.results import UpdateTold
from fedthorax.common.record.run import FitTold
fit = FitTold(loss=1.0, disease_loss=1.0, cancer_loss=1.0, pairs=1, steps=1, epochs=1, seconds=1.0)
folder = SiteFolder(Path(sys.argv[1]))
folder.make()
settings = SiteSettings.model_validate(dict(name="north", consortium="c", server="h:1", xray="x", ct="c",
                                            participation="always"))
desk = TaskDesk(folder, settings)
server = start_server(desk)
print("ready", flush=True)
told = UpdateTold(valid=some_scores(), train=fit)
desk.run(lambda task: TrainReply(site=task.site, round=task.round, results=told, weights=task.weights),
         lambda task, experiment: None)
"""
_EXPERIMENT = (
    '{"name": "b", "labels": {"findings": ["Mass"], "cancer_classes": ["a", "b"]}, "data": {"hospitals": '
    '{"north": null}, "central": null}, "model": {"weights": "received"}, "training": {"phases": '
    '[{"rounds": 1, "trainable": "all"}]}}'
)


def cpu_seconds(kind: str, socket: Path, experiment: Path, num_values: int) -> float:
    """CPU time of one ClientApp process, from its start to its reply."""
    script = _COMMON + (_OURS if kind == "ours" else _BARE) + _RUN
    command = [sys.executable, "-c", script, str(socket), str(experiment), str(num_values), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--values", type=int, default=NUM_VALUES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        experiment = folder / "experiment.json"
        experiment.write_text(_EXPERIMENT, encoding="utf-8")
        with subprocess.Popen([sys.executable, "-c", _WORKER, scratch], stdout=subprocess.PIPE, text=True) as worker:
            try:
                assert worker.stdout is not None
                worker.stdout.readline()
                socket = folder / "run" / "worker.sock"
                figures: dict[str, list[float]] = {"bare": [], "ours": []}
                for _ in range(options.repeats):
                    for kind, values in figures.items():
                        values.append(cpu_seconds(kind, socket, experiment, options.values))
                        time.sleep(0.2)
            finally:
                worker.terminate()
    for kind, name in (("bare", "Flower's own ClientApp"), ("ours", "FedThorax's ClientApp")):
        print(f"{name:<24} {statistics.median(figures[kind]):.2f} s of CPU (median of {options.repeats})")
    difference = statistics.median(figures["ours"]) - statistics.median(figures["bare"])
    print(f"difference               {difference:.2f} s with {options.values} values there and back")


if __name__ == "__main__":
    main()
