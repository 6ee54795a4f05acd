"""Scalars for TensorBoard: https://www.tensorflow.org/tensorboard"""

from collections.abc import Mapping
from pathlib import Path


class TensorBoardTracker:
    """Writes event files into ``folder``; each run, and each time it goes on, has a file of its own."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.went_on = folder.is_dir()
        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)
        self._writer.flush()

    def close(self, status: str) -> None:
        self._writer.close()
