"""What two runs have alike when they are one and the same, whichever way each was made."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fedthorax.common.ground.audit import read_lines, verify
from fedthorax.common.model.segments import SegmentLayout, weights_digest

from .conftest import Workplace, sets
from .consortium import models_in

_MEASURED = ("status", "labels", "rounds", "best_round", "selection", "stopped_early")
_AT_THE_END = ("central", "sites", "operating_points", "test", "test_with_duplicates", "pooled")


def proof(run: Path, led: bool = False) -> dict[str, Any]:
    """SHA-256 of every round's weights, of each model as Keras reads it, of what hospitals keep for themselves, and
    every figure of the record that is not of the clock or of the load of the machine.

    With ``led`` for comparing a consortium, where what a hospital keeps lies there, and what it describes is rounded,
    from which thresholds are chosen: of the tests at the end those figures that need none.
    """
    verify(run / "audit.jsonl")
    metrics = json.loads((run / "metrics.json").read_text())
    closed = [line["facts"] for line in read_lines(run / "audit.jsonl") if line["event"] == "round closed"]
    models = {file.name: digest(file) for file in (run / "model").glob("*.keras")}
    assert models == {name: entry["weights_sha256"] for name, entry in models_in(run).items()}
    measured = {name: metrics[name] for name in (*_MEASURED, *(() if led else _AT_THE_END))}
    if led:
        tests = {"central": metrics["test"], **{site: told["test"] for site, told in metrics["sites"].items()}}
        measured["areas"] = {
            where: {name: row["roc_auc"] for name, row in test["disease"]["per_finding"].items()}
            for where, test in tests.items()
        }
    text = re.sub(r'"(seconds|bytes_sent|bytes_received)": [0-9.e+-]+', r'"\1": 0', json.dumps(measured))
    return {
        "weights": {facts["round"]: facts["model_sha256"] for facts in closed},  # a round done again: as it was last
        "models": models_in(run),
        "kept": None if led else kept(run),
        "record": json.loads(text),
    }


def digest(file: Path) -> str:
    return weights_digest(SegmentLayout(keras.models.load_model(file, compile=False)).read())


def kept(run: Path) -> list[tuple[str, str]]:
    """Name and SHA-256 of every array that stays at the hospitals of a simulation; their folders name the run."""
    found = []
    for file in (run / "own").rglob("*.npz"):
        with np.load(file) as content:
            values = b"".join(name.encode() + content[name].tobytes() for name in sorted(content))
        found.append((file.name, hashlib.sha256(values).hexdigest()))
    return sorted(found)


def undisturbed(workplace: Workplace, *settings: str) -> Path:
    """The simulation of the tiny experiment with these settings, to which nothing happens; made once."""
    name = f"undisturbed-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}" if settings else "tiny"
    run = workplace.folder / "runs" / name
    if not run.exists():
        workplace.run("simulate", "tiny.yaml", "--name", name, *sets(settings), seconds=3600.0)
    return run
