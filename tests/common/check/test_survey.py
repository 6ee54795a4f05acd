"""Read once: what was read is not read again, whatever happened in between."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedthorax.common.check import facts_store
from fedthorax.common.check.facts_store import FactsStore, default_folder
from fedthorax.common.check.survey import Survey, Surveyor
from fedthorax.common.config.data import CtWindow
from fedthorax.common.records.records import ImageRef

Draw = Callable[..., np.ndarray]


@pytest.fixture
def pictures(tmp_path: Path, chest: Draw, save: Callable[..., Path]) -> list[ImageRef]:
    return [ImageRef(save(chest(number), tmp_path / f"images/{number}.png")) for number in range(6)]


def survey(folder: Path | None, images: list[ImageRef], modality: str | None = None) -> Survey:
    with FactsStore(folder) as store:
        return Surveyor(store, modality).survey(images)


def test_a_second_check_decodes_nothing_and_finds_the_same(tmp_path: Path, pictures: list[ImageRef]) -> None:
    first = survey(tmp_path / "cache", pictures)
    second = survey(tmp_path / "cache", pictures)
    assert (first.num_decoded, second.num_decoded) == (6, 0)
    assert second.facts == first.facts


def test_a_changed_file_is_read_again_and_a_renamed_or_copied_one_is_known(
    tmp_path: Path, pictures: list[ImageRef], chest: Draw, save: Callable[..., Path]
) -> None:
    before = survey(tmp_path / "cache", pictures).facts
    save(chest(99), pictures[0].path)
    moved = pictures[1].path.rename(tmp_path / "images/moved.png")
    copy = tmp_path / "images/copy.png"
    copy.write_bytes(pictures[2].path.read_bytes())
    after = survey(tmp_path / "cache", [pictures[0], ImageRef(moved), ImageRef(copy), *pictures[3:]])
    assert after.num_decoded == 1
    assert after.facts[pictures[0]].digest != before[pictures[0]].digest
    assert after.facts[ImageRef(moved)] == before[pictures[1]]
    assert after.facts[ImageRef(copy)] == before[pictures[2]]


def test_a_stopped_check_goes_on_where_it_was(
    tmp_path: Path, pictures: list[ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with FactsStore(tmp_path / "cache") as store, pytest.raises(KeyboardInterrupt):
        Surveyor(store).survey(pictures, stop)
    assert survey(tmp_path / "cache", pictures).num_decoded == 3


def test_a_killed_check_leaves_a_store_that_is_whole(tmp_path: Path, pictures: list[ImageRef]) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from fedthorax.common.check import survey\n"
        "from fedthorax.common.check.facts_store import FactsStore\n"
        "from fedthorax.common.records.records import ImageRef\n"
        "survey._WRITE_EVERY = 1\n"
        "def wait(done, total):\n"
        "    print(done, flush=True)\n"
        "    if done == 4: time.sleep(600)\n"
        "with FactsStore(Path(sys.argv[1])) as store:\n"
        "    survey.Surveyor(store).survey([ImageRef(Path(name)) for name in sys.argv[2:]], wait)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "cache"), *(str(ref.path) for ref in pictures)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "4":
                break
        process.send_signal(signal.SIGKILL)
    assert survey(tmp_path / "cache", pictures).num_decoded == 2


def test_another_window_is_another_picture(tmp_path: Path, pictures: list[ImageRef]) -> None:
    survey(tmp_path / "cache", pictures)
    with FactsStore(tmp_path / "cache") as store:
        again = Surveyor(store, None, (CtWindow(center=0, width=100),)).survey(pictures)
    assert again.num_decoded == 6


def test_a_damaged_store_is_begun_anew(tmp_path: Path, pictures: list[ImageRef]) -> None:
    survey(tmp_path / "cache", pictures)
    (tmp_path / "cache/check.sqlite").write_bytes(b"not a database" * 100)
    assert survey(tmp_path / "cache", pictures).num_decoded == 6
    with sqlite3.connect(tmp_path / "cache/check.sqlite") as database:
        database.execute("update facts set picture = x'00'")
    database.close()
    assert len(survey(tmp_path / "cache", pictures).facts) == 6
    assert survey(tmp_path / "cache", pictures).num_decoded == 0


def test_only_its_owner_may_read_the_store(tmp_path: Path, pictures: list[ImageRef]) -> None:
    survey(tmp_path / "cache", pictures)
    assert (tmp_path / "cache/check.sqlite").stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_without_a_folder(tmp_path: Path, pictures: list[ImageRef]) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert survey(None, pictures).num_decoded == 6
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OSError, match=r"cache folder cannot be written .*name another with --cache"):
        FactsStore(tmp_path / "file")
    (tmp_path / "check.sqlite").mkdir()

    def refuse(file: Path) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(facts_store, "_open", refuse)
    with pytest.raises(OSError, match=r"check\.sqlite: the check's cache cannot be used .*name another with --cache"):
        FactsStore(tmp_path)


def test_the_store_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fedthorax"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache/fedthorax"


def test_progress_ends_at_all_images_also_with_unreadable_ones(tmp_path: Path, pictures: list[ImageRef]) -> None:
    pictures[5].path.write_bytes(b"")
    seen: list[tuple[int, int]] = []
    with FactsStore(None) as store:
        found = Surveyor(store).survey(pictures, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (6, 6)
    assert [bad.path for bad in found.unreadable] == [pictures[5].path]
