"""Hospitals that keep something from round to round, in real processes: a run that goes on ends with the same bits."""

import json
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow


def rounds(number: int) -> tuple[str, str]:
    return "--set", f"training.phases=[{{rounds: {number}, trainable: all, learning_rate: 3e-3}}]"


def parts(run: Path) -> dict[str, dict[str, bytes]]:
    found = {}
    for file in sorted((run / "own").rglob("*.npz")):
        with np.load(file) as content:
            found[file.name, len(found)] = {name: content[name].tobytes() for name in sorted(content)}
    return dict(enumerate(sorted(tuple(sorted(part.items())) for part in found.values())))


def without_clock(entries: list[dict]) -> str:
    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in ("seconds", "bytes_sent", "bytes_received")}
        return [plain(one) for one in value] if isinstance(value, list) else value

    return json.dumps(plain(entries))


@pytest.mark.parametrize("strategy", ["fedbn", "scaffold"])
def test_a_run_that_goes_on_ends_with_the_same_bits(workplace, strategy):
    chosen, names = ("--set", f"federation.strategy={strategy}"), [f"{strategy}-whole", f"{strategy}-parted"]
    workplace.run("simulate", "tiny.yaml", *chosen, *rounds(3), "--name", names[0])
    workplace.run("simulate", "tiny.yaml", *chosen, *rounds(1), "--name", names[1])
    workplace.run("simulate", "tiny.yaml", *chosen, *rounds(3), "--name", names[1], "--resume")
    whole, parted = (workplace.folder / "runs" / name for name in names)
    assert parts(whole) == parts(parted)
    assert len(parts(whole)) == 2 * 3
    one, other = (workplace.metrics(name) for name in names)
    assert without_clock(one["rounds"]) == without_clock(other["rounds"])
    assert one["test"]["disease"]["macro"] == other["test"]["disease"]["macro"]
    assert {name: site["test"] for name, site in one["sites"].items()} == {
        name: site["test"] for name, site in other["sites"].items()
    }
