"""The folder of one run: who may write it, what lies where in it, and how it is read again.

::

    runs/NAME/
      .lock                 held by the writer; its text marks the folder as a run
      config.yaml           the resolved experiment, below a comment block with versions, seeds and data fingerprints
      metrics.json          everything measured (docs/metrics.md)
      history.csv           the main figures of it, flat, for a spreadsheet
      events.jsonl          progress, one event a line
      audit.jsonl           what was received and refused, hash-chained
      test_predictions.csv  the selected model on the central test images
      examples/             a few of these images with what spoke for the answers (evaluation.examples)
      report.html           one file, opens offline
      tensorboard/          the main figures for TensorBoard, where output.tensorboard asks for them
      checkpoints/  model/best.keras  model/last.keras
      masking/              what masked rounds must say again after a crash, until they are closed
      own/                  in a simulation: what of the model stays at the hospitals (FedBN, personalisation, codecs)
      personal/HOSPITAL/    in a simulation: the hospital's own model, a model folder

``config.yaml`` is one YAML document: it is an experiment that can be run again as it stands. What does not belong to an
experiment stands in the comment block above it, as YAML behind ``# ``, and ``RunFolder.read_config`` reads it back.

The lock is POSIX's ``flock``, so runs are written on Linux and macOS only; reading works everywhere.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from fedthorax.common.config import Experiment
from fedthorax.common.ground.atomic_write import write_json, write_text
from fedthorax.common.ground.fields import one_line
from fedthorax.common.ground.inside import Inside
from fedthorax.common.ground.lock import take
from fedthorax.common.ground.machine import num_cpus
from fedthorax.common.ground.strict_json import canonical_json, plain_value
from fedthorax.common.record.history import history_csv
from fedthorax.common.record.run import READABLE, Run, checked_run, read_run

_LOCK_TEXT = "FedThorax run folder\n"
_RESERVE = ".reserve"
_RESERVE_BYTES = 4 << 20  # for metrics.json and history.csv of a run that ends on a full disk
ENDED_FROM_OUTSIDE = "its process ended without a word: it was killed, ran out of memory, or the machine stopped"
_ENDED = "ended "
_LONGEST_WORDS = 2000  # with what stands before them less than a block of any disk
_CONFIG_TITLE = "# FedThorax: the resolved experiment of a run"
_PACKAGES = ("fed-thorax", "flwr", "tensorflow", "keras", "numpy", "scikit-learn", "pydantic", "pillow", "matplotlib")


class RunFolder:
    """``create`` or ``resume`` for the one writer of a run, ``load`` for any number of readers."""

    config = Inside("config.yaml")
    metrics = Inside("metrics.json")
    history = Inside("history.csv")
    events = Inside("events.jsonl")
    audit = Inside("audit.jsonl")
    report = Inside("report.html")
    plots = Inside("plots")
    test_predictions = Inside("test_predictions.csv")
    examples = Inside("examples")
    checkpoints = Inside("checkpoints")
    model = Inside("model")
    own = Inside("own")
    masking = Inside("masking")
    best_model = Inside("model", "best.keras")
    last_model = Inside("model", "last.keras")

    def __init__(self, path: Path, lock: int | None = None) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, path: Path, overwrite: bool = False) -> "RunFolder":
        """An empty, locked run folder with ``checkpoints/`` and ``model/``.

        FileExistsError if a run is there and ``overwrite`` is False, or if the folder holds something that is not a
        run, which is never removed. BlockingIOError if another process is writing it.
        """
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise FileExistsError(f"{path} is not a folder; choose another name or output.folder")
        had_content = path.is_dir() and any(path.iterdir())
        if had_content and not _is_run_folder(path):
            raise FileExistsError(f"{path} holds files, but not those of a run; choose another name or output.folder")
        path.mkdir(parents=True, exist_ok=True)
        lock = _lock(path)
        try:
            if had_content and not overwrite:
                raise FileExistsError(
                    f"{path} already holds a run; add --overwrite to replace it, or choose a new name"
                )
            for entry in path.iterdir():
                if entry.name == ".lock":
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            folder = cls(path, lock)
            folder._sign()
            folder.checkpoints.mkdir()
            folder.model.mkdir()
            folder._take_reserve()
        except BaseException:
            os.close(lock)
            raise
        return folder

    @classmethod
    def resume(cls, path: Path) -> "RunFolder":
        """A run that was stopped, locked for going on with it; what a killed writer left half-written is removed.

        FileNotFoundError if no run is there. BlockingIOError if another process is writing it.
        """
        if not path.is_dir() or not _is_run_folder(path):
            raise FileNotFoundError(f"{path} holds no run that could be resumed; start it without --resume")
        lock = _lock(path)
        try:
            folder = cls(path, lock)
            for half_written in (*path.glob(".*.tmp"), *path.glob("*/.*.tmp"), *path.glob("*/*.part.keras")):
                half_written.unlink()
            folder.checkpoints.mkdir(exist_ok=True)
            folder.model.mkdir(exist_ok=True)
            folder._take_reserve()  # while the last words of the writer before stand
            folder._sign()
        except BaseException:
            os.close(lock)
            raise
        return folder

    @classmethod
    def load(cls, path: Path) -> "RunFolder":
        """A run for reading; FileNotFoundError if the folder holds none."""
        if not path.is_dir():
            raise FileNotFoundError(f"{path} is not a folder; expected a run folder such as runs/demo")
        if not (path / "metrics.json").is_file():
            raise FileNotFoundError(f"{path} holds no metrics.json; expected a run folder such as runs/demo")
        return cls(path)

    def close(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._lock is not None:
            self.use_reserve()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def personal(self, site: str) -> Path:
        """The model folder of a hospital's own model."""
        return self.path / "personal" / re.sub(r"[/\\]", "-", site).lstrip(".")

    def write_config(self, experiment: Experiment, extra: Mapping[str, Any]) -> None:
        """``config.yaml``; ``extra`` are facts beside the experiment, such as versions, seeds, data fingerprints."""
        self._require_lock()
        facts = {"config_sha256": config_sha256(experiment), **plain_value(extra, "extra")}
        block = _yaml(facts).rstrip("\n").splitlines()
        comment = "\n".join([_CONFIG_TITLE, *(f"# {line}".rstrip() for line in block)])
        write_text(self.config, f"{comment}\n\n{_yaml(experiment.model_dump(mode='json'))}")

    def read_config(self) -> tuple[Experiment, dict[str, Any]]:
        """The experiment and the facts that stood beside it; ValueError where this version cannot read them."""
        text = self.config.read_text(encoding="utf-8")
        comment = [line for line in text.split("\n\n", 1)[0].splitlines()[1:] if line.startswith("#")]
        facts = yaml.safe_load("\n".join(line[2:] for line in comment)) or {}
        try:
            return Experiment.model_validate(yaml.safe_load(text)), facts
        except ValueError as error:
            first = str(error).splitlines()[0]
            raise ValueError(f"{self.config} is not an experiment of this version of FedThorax: {first}") from error

    def write_metrics(self, metrics: Mapping[str, Any]) -> Run:
        """``metrics.json`` and ``history.csv``, each replaced at once, of what is given back. A number that is not
        finite becomes null, and ``undefined`` says where and what it was. ValueError names the first field that is not
        one of a Run."""
        self._require_lock()
        run = checked_run(metrics)
        write_json(self.metrics, run.model_dump(mode="json", exclude_unset=True))
        write_text(self.history, history_csv(run))
        return run

    def last_words(self, status: str, error: str | None) -> None:
        """How the run ends, in the lock file: its block is taken already, so that a full disk cannot keep it back."""
        lock, words = self._require_lock(), f"{_ENDED}{status}: {one_line(error or '', _LONGEST_WORDS)}\n".encode()
        lines = os.pread(lock, 4096, 0).split(_ENDED.encode())[0]
        os.pwrite(lock, words, len(lines))

    def use_reserve(self) -> None:
        """Give free what was kept for the record of a run that ends on a full disk."""
        (self.path / _RESERVE).unlink(missing_ok=True)

    def how_it_ended(self) -> tuple[str, str | None] | None:
        """Status and error of a run that nobody writes any more, from its last words; None while somebody does, and
        where that cannot be known. A run without last words was ended from outside."""
        try:
            with (self.path / ".lock").open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                text = file.read().decode(errors="replace")
        except OSError:
            return None
        words = text.partition(f"\n{_ENDED}")[2]
        if words:
            status, _, error = words.partition(": ")
            return status, error.strip() or None
        return "failed", ENDED_FROM_OUTSIDE

    def read_run(self) -> Run:
        """``read_metrics`` as a Run, of a file of before too; ValueError names the file and its first odd field."""
        value = self.read_metrics()
        try:
            return read_run(value)
        except ValueError as error:
            raise ValueError(f"{self.metrics}: {error}") from error

    def read_metrics(self) -> dict[str, Any]:
        """What ``write_metrics`` wrote; ValueError if it is of another schema. A run that ended without being able to
        say so there has the status and the error of ``how_it_ended``."""
        try:
            value = json.loads(self.metrics.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.metrics} is not JSON: {error}") from error
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version not in READABLE:
            raise ValueError(
                f"{self.metrics} has schema_version {version!r}, but this version of FedThorax reads "
                f"{' and '.join(map(str, READABLE))}"
            )
        if self._lock is None and value.get("status") == "running" and (end := self.how_it_ended()) is not None:
            value["status"], value["error"] = end
        return value

    def _take_reserve(self) -> None:
        if hasattr(os, "posix_fallocate"):  # macOS has none
            with (self.path / _RESERVE).open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)

    def _sign(self) -> None:
        text = f"{_LOCK_TEXT}process {os.getpid()} on {platform.node()}\n".encode()
        os.pwrite(self._require_lock(), text, 0)  # before the rest is cut off: the block is not given back
        os.ftruncate(self._require_lock(), len(text))

    def _require_lock(self) -> int:
        if self._lock is None:
            raise ValueError(f"{self.path} was opened for reading; only the run's own process writes it")
        return self._lock


def config_sha256(experiment: Experiment) -> str:
    """A fingerprint of everything in the experiment, defaults included; the layout of the YAML file does not enter."""
    return hashlib.sha256(canonical_json(experiment.model_dump(mode="json")).encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a figure; one that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        for distribution in (package, f"{package}-cpu"):
            try:
                versions[package] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions


def machine_facts() -> dict[str, str | int]:
    """What of the machine can change the last bits of a figure: its kind, its processor, the cores that may be used."""
    model = platform.processor() or "unknown"
    with contextlib.suppress(OSError):  # only Linux has this file
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        model = names[0].strip() if names else model
    return {"system": f"{platform.system()} {platform.machine()}", "processor": model, "cores": num_cpus()}


def _is_run_folder(path: Path) -> bool:
    for name, mark in ((".lock", _LOCK_TEXT), ("config.yaml", _CONFIG_TITLE)):
        file = path / name
        if file.is_file() and file.read_bytes()[: len(mark)] == mark.encode():
            return True
    return False


def _lock(path: Path) -> int:
    try:
        return take(path / ".lock", "busy", 0o666)
    except BlockingIOError:
        text = (path / ".lock").read_text(encoding="utf-8", errors="replace").removeprefix(_LOCK_TEXT)[:200]
        holder = text.strip() or "another process"
        raise BlockingIOError(f"{path} is being written by {holder}; wait for it, or choose a new name") from None


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
