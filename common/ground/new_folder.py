"""A folder that appears complete or not at all, and the CSV files in it: UTF-8, a line feed after every row."""

import csv
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedthorax.common.ground.atomic_write import name_as_asked


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Rows in the order given; a row with a column that is not in ``columns`` is a ``ValueError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def new_folder(out: Path, may_replace: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yields an empty folder beside ``out``, which takes the place of ``out`` when the block ends without an error.

    ``out`` may be missing or empty. A folder with something in it is replaced only where ``may_replace`` agrees,
    else ``FileExistsError``; it stays whole until the new one is. After an error or Ctrl-C nothing of the new is left.
    """
    out = Path(os.path.abspath(out))  # noqa: PTH100 - keeps a symbolic link as it was given, unlike Path.resolve
    replaces = check_new_folder(out, may_replace)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        if replaces:
            old = out.parent / f".{out.name}.old-{os.getpid()}"
            out.rename(old)
            partial.rename(out)
            shutil.rmtree(old)
        else:
            partial.replace(out)
    except OSError as error:
        name_as_asked(error, partial, out)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_new_folder(out: Path, may_replace: Callable[[Path], bool] | None = None) -> bool:
    """Whether ``out`` holds something that is to be replaced; ``FileExistsError`` where it must not be."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FileExistsError(
            f"{out} is a file or a symbolic link, but a folder is to be written there; name another one"
        )
    if not out.exists() or not any(out.iterdir()):
        return False
    if may_replace is None or not may_replace(out):
        raise FileExistsError(f"{out} is not empty; name a new folder, or remove this one first")
    return True
