"""One file a round with everything that the server has learnt: weights, selection, and the whole record of the run."""

import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.ground.atomic_write import replacing
from fedthorax.common.ground.strict_json import plain_value
from fedthorax.common.model.segments import SEGMENTS, Weights
from fedthorax.server.selection import Selection

_NAME = re.compile(r"round-(\d+)\.npz")
_STATE = "state"
_FORMAT = 2  # of what stands in the file; 1: SCAFFOLD's variates under other names
_KEPT = "strategy."
_BROADCAST = "broadcast."
_ARRAYS = ("weights", "strategy_state", "broadcast")
_DAMAGE = (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Checkpoint:
    """The server after ``round``: enough to go on as if nothing had happened.

    ``record`` is the content of metrics.json. ``acknowledged`` and ``egress_heads`` are, by hospital, the ids of the
    tasks whose replies are in here while the hospital has not heard so, and the heads of its log, oldest first.
    ``overlaps`` holds, by hospital, positions in the central test images that it holds too; ``holdings`` is
    Holdings.by_site, ``strategy_state`` what the strategy keeps from round to round, ``broadcast`` is Broadcast.state.
    """

    round: int
    weights: Weights
    selection: Selection
    run: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    acknowledged: Mapping[str, list[str]] = field(default_factory=dict)
    egress_heads: Mapping[str, list[str]] = field(default_factory=dict)
    overlaps: Mapping[str, list[int]] = field(default_factory=dict)
    holdings: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    strategy_state: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    broadcast: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)


class Checkpoints:
    """``checkpoints/round-0003.npz``: written atomically; the newest ``keep`` whose model was taken stay, and the best
    round of each."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write the state after a round and remove checkpoints that are no longer needed.

        Raises OSError that says what is left to go on from; the checkpoints before stay whole.
        """
        file = self._file(checkpoint.round)
        state = {name: value for name, value in vars(checkpoint).items() if name not in _ARRAYS and name != "selection"}
        state |= {"format": _FORMAT, "selection": asdict(checkpoint.selection)}
        arrays = {
            **checkpoint.weights,
            **{_KEPT + name: kept for name, kept in checkpoint.strategy_state.items()},
            **{_BROADCAST + name: kept for name, kept in checkpoint.broadcast.items()},
        }
        text = json.dumps(plain_value(state), allow_nan=False)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as stream:
                np.savez(stream, state=np.frombuffer(text.encode(), np.uint8), **arrays)  # type: ignore[arg-type]
        except OSError as error:
            before = self.rounds()
            left = f"the newest whole checkpoint is of round {before[-1]}" if before else "there is no checkpoint yet"
            reason = error.strerror or str(error)
            raise OSError(
                f"the checkpoint {file} cannot be written: {reason}; {left}; make room, and go on with --resume"
            ) from error
        self._prune()
        return file

    def load(self, round_number: int) -> Checkpoint:
        """The state after a round. Raises FileNotFoundError, or ValueError when the file is damaged."""
        file = self._file(round_number)
        if not file.is_file():
            raise FileNotFoundError(f"no checkpoint of round {round_number}: {file}")
        try:
            # An open stream, because np.load leaves a damaged file open.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                state = _state(content)
                weights: dict[str, NDArray[np.float32]] = {segment: content[segment] for segment in SEGMENTS}
                kept, broadcast = _under(content, _KEPT), _under(content, _BROADCAST)
        except _DAMAGE as error:
            raise ValueError(f"damaged checkpoint {file}: {error}") from error
        if (came := state.pop("format", 1)) != _FORMAT:
            raise ValueError(f"the checkpoint {file} is of another version of FedThorax: format {came}, not {_FORMAT}")
        return Checkpoint(**state, weights=weights, strategy_state=kept, broadcast=broadcast)

    def latest(self) -> tuple[Checkpoint, list[str]]:
        """The newest checkpoint that is whole, and a line for each newer one that is damaged.

        Raises ValueError when there is none.
        """
        damaged: list[str] = []
        for number in reversed(self.rounds()):
            try:
                return self.load(number), damaged
            except ValueError as error:
                damaged.append(str(error))
        words = "; ".join(damaged) or f"{self._folder} holds none"
        raise ValueError(f"no whole checkpoint to resume from: {words}; start the run anew with --overwrite")

    def remove_after(self, round_number: int) -> None:
        """Remove checkpoints of later rounds, which are going to be run again."""
        for number in self.rounds():
            if number > round_number:
                self._file(number).unlink()

    def rounds(self) -> list[int]:
        """Rounds of which there is a checkpoint, in order."""
        matches = (_NAME.fullmatch(path.name) for path in self._folder.glob("round-*.npz"))
        return sorted(int(match[1]) for match in matches if match)

    def _file(self, round_number: int) -> Path:
        return self._folder / f"round-{round_number:04d}.npz"

    def _prune(self) -> None:
        """Going on from any of the newest, even the one before a damaged last one, needs its best round too. A round
        whose model was not taken stays beside them and is not one of so many."""
        needed, taken = set[int | None](), 0
        for number in reversed(self.rounds()):
            if taken < self._keep:
                best, is_taken = self._seen(number)
                needed |= {number, best}
                taken += is_taken
            elif number not in needed:
                self._file(number).unlink()

    def _seen(self, round_number: int) -> tuple[int | None, bool]:
        """The best round by then, and whether the model of this one was taken."""
        try:
            with self._file(round_number).open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                state = _state(content)
        except _DAMAGE:
            return None, True
        return state["selection"].best_round, (state["record"].get("rounds") or [{}])[-1].get(
            "central", True
        ) is not None


def _under(content: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): content[name] for name in content if name.startswith(prefix)}


def _state(content: Mapping[str, NDArray[np.uint8]]) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(content[_STATE].tobytes())
    return state | {"selection": Selection(**state["selection"])}
