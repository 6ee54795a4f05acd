"""One file a round with everything that the server has learnt: weights and the state of the selection."""

import json
import os
import re
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedthorax.common.model.segments import SEGMENTS, Weights
from fedthorax.server.selection import Selection

_NAME = re.compile(r"round-(\d+)\.npz")


class Checkpoints:
    """``checkpoints/round-0003.npz``: written atomically; the newest ``keep`` and the best one stay."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def save(self, round_number: int, weights: Weights, selection: Selection) -> Path:
        """Write the state after a round and remove checkpoints that are no longer needed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._file(round_number)
        temporary = file.with_suffix(".part")
        state = json.dumps({"round": round_number, "selection": asdict(selection)})
        with temporary.open("wb") as stream:
            np.savez(stream, state=np.array(state), **weights)  # type: ignore[arg-type]
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        self._prune(selection.best_round)
        return file

    def load(self, round_number: int) -> tuple[dict[str, NDArray[np.float32]], Selection]:
        """Weights and selection after a round. Raises FileNotFoundError, or ValueError when the file is damaged."""
        file = self._file(round_number)
        if not file.is_file():
            raise FileNotFoundError(f"no checkpoint of round {round_number}: {file}")
        try:
            # An open stream, because np.load leaves a damaged file open.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                state = json.loads(str(content["state"]))
                weights = {segment: content[segment] for segment in SEGMENTS}
        except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"damaged checkpoint {file}: {error}") from error
        return weights, Selection(**state["selection"])

    def rounds(self) -> list[int]:
        """Rounds of which there is a checkpoint, in order."""
        matches = (_NAME.fullmatch(path.name) for path in self._folder.glob("round-*.npz"))
        return sorted(int(match[1]) for match in matches if match)

    def _file(self, round_number: int) -> Path:
        return self._folder / f"round-{round_number:04d}.npz"

    def _prune(self, best_round: int | None) -> None:
        for number in self.rounds()[: -self._keep]:
            if number != best_round:
                self._file(number).unlink()
