"""The page of ``fedthorax try``: what it answers, to whom, and how a person uses it in a browser.

The last test starts the command and Debian's chromium; without one it is skipped, unless FEDTHORAX_BROWSER=required.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedthorax.common.metrics.operating import LabelOperation, OperatingPoints
from fedthorax.common.page.local import OnlyHere
from fedthorax.common.release import trial
from fedthorax.common.release.saved_model import SavedModel

from ...asking import HERE, Ask, asking

ALWAYS = LabelOperation(threshold=0.0, method="youden", positives=20, negatives=20)
NEVER = ALWAYS.model_copy(update={"threshold": 1.0})
File = tuple[str, str, bytes]

pytestmark = pytest.mark.ci


@pytest.fixture
def ask(fresh) -> Ask:
    """Asks the page of a small network whose only reached finding is Effusion, without a process or a port."""
    labels = fresh.experiment.labels
    points = OperatingPoints(
        site="central",
        split="valid",
        disease={**dict.fromkeys(labels.findings, NEVER), "Effusion": ALWAYS},
        cancer=dict.fromkeys(labels.cancer_classes, ALWAYS),
    )
    facts = {"name": "<b>small</b>", "image_size": 32, "aspect": "squash", "models": {"best.keras": {}}}
    facts |= {"findings": list(labels.findings), "cancer_classes": list(labels.cancer_classes)}
    return asking(OnlyHere(trial.trial_app(SavedModel(Path("best.keras"), fresh.model, facts, points))))


def body(*files: File) -> bytes:
    head = {"files": [{"kind": kind, "name": name, "size": len(content)} for kind, name, content in files]}
    return json.dumps(head).encode() + b"\n" + b"".join(content for _, _, content in files)


def png(seed: int, side: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def answer(ask: Ask, *files: File, path: str = "/answer", status: int = 200) -> dict[str, Any]:
    reply = ask("POST", path, content=body(*files), headers={"origin": HERE})
    assert reply.status_code == status
    found: dict[str, Any] = reply.json()
    return found


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_answers_with_the_pictures_as_the_model_sees_them_and_keeps_nothing(ask: Ask, temporary: Path) -> None:
    found = answer(ask, ("xray", "x.png", png(0)), ("ct", "c.png", png(1)), ("ct", "d/bad.png", b""))
    (row,) = found["predictions"]
    assert (row["xray"], row["ct"]) == ("x.png", "c.png")
    assert row["predicted"]["findings"] == ["Effusion"]
    assert {kind: list(pictures) for kind, pictures in found["pictures"].items()} == {
        "xray": ["x.png"],
        "ct": ["c.png"],
    }
    assert found["skipped"][0]["reasons"] == ["d/bad.png: is empty (0 bytes)"]
    assert str(temporary) not in json.dumps(found)
    assert list(temporary.iterdir()) == []


def test_a_zipped_series_is_answered_in_the_order_of_the_body(ask: Ask, write_ct, tmp_path: Path) -> None:
    packed = io.BytesIO()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(packed, "w") as archive:
        for name, height in (("a.dcm", 30.0), ("b.dcm", 10.0), ("c.dcm", 20.0)):
            archive.write(write_ct(tmp_path / name, rng.integers(-1000, 500, (32, 32)), height), f"study/{name}")
        archive.writestr("study/DICOMDIR", "index")
    found = answer(ask, ("xray", "x.png", png(0)), ("ct", "study.zip", packed.getvalue()))
    assert [row["ct"] for row in found["predictions"]] == ["study/b.dcm", "study/c.dcm", "study/a.dcm"]
    assert found["left_out"] == ["study/DICOMDIR is no image"]
    (series,) = found["examinations"]
    assert (series["ct"], series["slices"]) == ("study", 3)


def test_maps_are_of_the_pictures_that_were_seen(ask: Ask) -> None:
    seen = [("xray", "seen.png", png(0, 32)), ("ct", "seen.png", png(1, 32))]
    found = answer(ask, *seen, path="/maps")
    assert {kind: list(maps) for kind, maps in found.items()} == {
        "xray": ["Effusion", "Mass", "Nodule"],
        "ct": ["normal", "tumour"],
    }
    assert found["xray"]["Mass"]["picture"].startswith("data:image/png;base64,")
    refused = answer(ask, ("xray", "x", png(0)), ("ct", "c", png(1)), path="/maps", status=400)
    assert refused["error"] == "expected a picture of 32 x 32 pixels, got 40 x 40"


def packed(*names: str, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "there is nothing to predict from"),
        ([("xray", "x.png", png(0))], "give both, got 1 X-ray and 0 CT slices"),
        ([("hand", "x.png", b"")], "expected a line that tells kind, name and size"),
        ([("ct", "notes.txt", b"words")], "no image in this folder"),
        ([("ct", "z.zip", b"PK\3\4")], "z.zip: this zip is damaged"),
        ([("ct", "z.zip", packed("large.dcm", content=bytes(2**20 + 1)))], "z.zip: more than 1 MB or 3 files"),
        ([("ct", "z.zip", packed("a", "b", "c", "d"))], "z.zip: more than 1 MB or 3 files"),
        ([("ct", f"{number}", b"") for number in range(4)], "more than 3 files"),
    ],
)
def test_what_cannot_be_answered_is_said(
    ask: Ask, files: Sequence[File], words: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "MOST_BYTES", 2**20)
    monkeypatch.setattr(trial, "MOST_FILES", 3)
    found = answer(ask, *files, status=400)
    assert words in found["error"]
    assert str(temporary) not in found["error"]
    assert list(temporary.iterdir()) == []


def test_no_name_leads_out_of_the_folder_and_two_of_one_name_stay_two(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    for name in ("../../x", "/x", "..\\x", "..", "", "x" * 300 + ".png"):
        trial._write(inside, name, io.BytesIO(name.encode()))
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert written == [
        "inside/2-image",
        "inside/2-x",
        "inside/3-x",
        "inside/image",
        "inside/x",
        f"inside/{'x' * 56}.png",
    ]


def test_too_much_at_once_is_refused_while_it_comes(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_BYTES", 2**20)
    assert "more than 1 MB" in answer(ask, ("xray", "x", bytes(2**20)), status=413)["error"]


def test_other_names_and_other_pages_get_nothing(ask: Ask) -> None:
    for host in ("evil.example:8000", "127.0.0.1.evil.example:8000", ""):
        assert ask("GET", "/", headers={"host": host}).status_code == 403
    for origin in ({}, {"origin": "null"}, {"origin": "http://evil.example"}, {"origin": "http://127.0.0.1:9000"}):
        reply = ask("POST", "/answer", content=body(), headers=origin)
        assert (reply.status_code, reply.text) == (403, "only this page itself may ask here\n")
    assert ask("GET", "/answer").status_code == 405
    page = ask("GET", "/")
    assert "<b>small" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert page.headers["cache-control"] == "no-store"


@pytest.fixture
def served(folder: Path, temporary: Path) -> Iterator[str]:
    """The address at which the command serves a model; afterwards Ctrl-C has ended it, and no image is left."""
    command = [sys.executable, "-m", "fedthorax.cli.main", "try", str(folder)]
    environment = os.environ | {"TMPDIR": str(temporary), "COLUMNS": "200"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "  (Ctrl-C ends the page)" in line, line
        yield line.split(": ")[1].split()[0]
        assert list(temporary.iterdir()) == []
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "the page is closed\n"
    assert process.returncode == 0


def drop(page, place: str, path: Path) -> None:
    """As by a pointer that carries ``path`` from a file manager."""
    box = page.locator(place).bounding_box()
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 9, "y": box["y"] + 20, "data": data})


@pytest.mark.slow
def test_a_person_drops_a_series_asks_by_keyboard_and_sees_answers_maps_and_always_the_notice(
    browser, served: str, tmp_path: Path
) -> None:
    series = tmp_path / "series"
    (series / "more").mkdir(parents=True)
    (tmp_path / "x.png").write_bytes(png(0))
    (series / "c.png").write_bytes(png(1))
    (series / "more" / "d.png").write_bytes(png(2))
    (series / "bad.png").write_bytes(b"")
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served)
    button = page.get_by_role("button", name="Ask the model")
    assert button.is_disabled()
    page.get_by_label("X-ray files").set_input_files(tmp_path / "x.png")
    page.get_by_text("This model needs both, an X-ray and CT.").wait_for()
    drop(page, "#drop-ct", series)
    page.get_by_text("3 files").wait_for()
    button.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="2 answered, 1 not.").wait_for()
    assert page.evaluate("[beside(0.2512, 0.2514), beside(0.5, 0.5)]") == [["0.2512", "0.2514"], ["0.500", "0.500"]]
    assert page.evaluate("document.activeElement.textContent") == "What the model says"
    assert page.get_by_text("Not answered: series/bad.png: is empty (0 bytes)").is_visible()
    assert page.get_by_role("img", name="The X-ray as the model sees it").is_visible()
    mass = page.get_by_role("table", name="What the model says of the X-ray").get_by_role("row", name="Mass")
    assert "0.700 (0.600 to 0.800)" in mass.inner_text()
    slider = page.get_by_role("slider", name="Answer 1 of 2: series/c.png")
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("slider", name="Answer 2 of 2: series/more/d.png").wait_for()
    page.get_by_label("Show").first.select_option("Nodule")
    page.get_by_role("img", name="The X-ray with the places in red that speak for Nodule").wait_for()
    page.mouse.wheel(0, 4000)
    assert page.evaluate("document.querySelector('.notice').getBoundingClientRect().top") == 0
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="no. 1").first.click()
    page.get_by_role("slider", name="Answer 1 of 2: series/c.png").wait_for()
    seen = "one => one.getBoundingClientRect()"
    slider, title = page.locator(".slice").evaluate(seen), page.locator(".slice ~ div h3").first.evaluate(seen)
    assert slider["bottom"] <= title["top"] < title["bottom"] < 844
    for table in page.locator("#results .wide").all():
        assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), table.inner_text()
    page.get_by_role("button", name="Clear everything").click()
    page.get_by_text("Nothing is shown or kept any more.").wait_for()
    assert page.get_by_role("img").count() == 0
    context.close()
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {
        served + path for path in ("", "style.css", "try.js", "answer", "maps")
    }
