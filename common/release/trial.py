"""``fedthorax try``: a page on which a person asks a model about images. They are kept while they are answered only.

``POST /answer`` and ``POST /maps`` take a line of JSON, ``{"files": [{"kind", "name", "size"}, ...]}``, and then the
bytes of the files, one behind the other.
"""

import base64
import io
import json
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedthorax.common.check.flags import FLAG_WORDS
from fedthorax.common.config.data import CacheConfig, CtSlices
from fedthorax.common.hospital.ct_series import find_slices
from fedthorax.common.pixels.cache import decode_all
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.body_region import no_chest_radiograph
from fedthorax.common.records.listing import IMAGE_KINDS, Listing, list_images
from fedthorax.common.records.patients import headers
from fedthorax.common.records.records import BadFile, ImageRef
from fedthorax.common.release.grad_cam import GradCam, map_words, overlay
from fedthorax.common.release.predict import predict_files
from fedthorax.common.release.saved_model import SavedModel
from fedthorax.common.release.trial_page import SCRIPT, STYLE, trial_page


def asked_images(paths: Iterable[Path], modality: Modality) -> tuple[list[ImageRef], list[str]]:
    """The named images and those in the named folders, in the order of their names, and what is not used, in words.

    CT series and volumes give their axial slices from the feet to the head. A file that cannot be read is among the
    images, for decoding to name. Raises FileNotFoundError for a folder without images, ValueError where nothing of a
    path can be used.
    """
    found: list[ImageRef] = []
    told: list[str] = []
    for path in paths:
        listing = list_images(path) if path.is_dir() else Listing(path.parent, {path.name: path}, ())
        inside = {**listing.images, **{name: link.path for name, link in listing.dead.items()}}
        if not inside:
            raise FileNotFoundError(f"{path}: no image in this folder; expected {IMAGE_KINDS} files")
        if modality == "xray":
            wrong = {path: no_chest_radiograph(header) for path, header in headers(list(inside.values())).items()}
            left_out = [BadFile(path, reason) for path, reason in wrong.items() if reason]
            images = [ImageRef(image) for image in inside.values() if not wrong.get(image)]
        else:
            slices = find_slices(inside, CtSlices())
            raw = [bad for bad in slices.bad if bad.fault == "other_scale"]
            left_out = [*slices.left_out, *raw]
            images = [slice_.image for slice_ in slices.slices]
            images += [bad.ref for bad in slices.bad if bad not in raw]
        words = [f"{left.ref} {left.reason}" for left in left_out]
        if words and not images:
            raise ValueError(words[0])
        found += images
        told += words
    return found, told


MOST_BYTES, MOST_FILES = 512 * 2**20, 5000
_LONGEST_LINE = 4 * 2**20
_KINDS: tuple[Modality, ...] = ("xray", "ct")


def trial_app(saved: SavedModel) -> Starlette:
    """The page and its answers; one question at a time. To be served by ``page.local``, which keeps others away."""
    turn = threading.Lock()
    grad_cam: list[GradCam] = []

    def answer(files: Mapping[Modality, Path], folder: Path) -> dict[str, Any]:
        return _answer(saved, files, folder)

    def maps(files: Mapping[Modality, Path], _: Path) -> dict[str, Any]:
        if not grad_cam:
            grad_cam.append(GradCam(saved.model))
        return _maps(saved, grad_cam[0], files)

    page = trial_page(saved)
    routes = [
        Route("/", _fixed(page, "text/html")),
        Route("/try.js", _fixed(SCRIPT, "text/javascript")),
        Route("/style.css", _fixed(STYLE, "text/css")),
        Route("/answer", _asked(answer, turn), methods=["POST"]),
        Route("/maps", _asked(maps, turn), methods=["POST"]),
    ]
    return Starlette(routes=routes)


def _fixed(text: str, kind: str) -> Callable[[Request], Response]:
    return lambda _: Response(text, media_type=kind)


def _asked(
    answer: Callable[[Mapping[Modality, Path], Path], dict[str, Any]], turn: threading.Lock
) -> Callable[[Request], Awaitable[Response]]:
    """``answer`` of the folders, by modality, into which the files of a request are laid, and of the folder around
    them, whose name stands in no answer."""

    def answered(folder: Path) -> Response:
        try:
            with turn:
                found, status = answer(_lay_out(folder), folder), 200
        except (ValueError, OSError) as error:
            found, status = {"error": str(error)}, 400
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
        for kind in _KINDS:
            text = text.replace(f"{folder}/{kind}/", "").replace(f"{folder}/{kind}", "what was sent")
        return Response(text, status, media_type="application/json")

    async def endpoint(request: Request) -> Response:
        with tempfile.TemporaryDirectory(prefix="fedthorax-try-") as folder:
            try:
                with (Path(folder) / "sent").open("wb") as sent:
                    async for piece in request.stream():
                        if sent.tell() + len(piece) > MOST_BYTES:
                            return JSONResponse({"error": f"more than {MOST_BYTES >> 20} MB; choose fewer images"}, 413)
                        sent.write(piece)
            except ClientDisconnect:
                return Response(status_code=400)
            return await run_in_threadpool(answered, Path(folder))

    return endpoint


def _lay_out(folder: Path) -> dict[Modality, Path]:
    """The folders, by modality, with the files that were sent, and with what is in the zips among them."""
    folders: dict[Modality, Path] = {}
    count, size = 0, 0
    with (folder / "sent").open("rb") as sent:
        line = sent.readline(_LONGEST_LINE)
        try:
            files = [
                (_KINDS[_KINDS.index(file["kind"])], str(file["name"]), int(file["size"]))
                for file in json.loads(line)["files"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError("expected a line that tells kind, name and size of each file, then the files") from error
        for kind, name, length in files:
            content = sent.read(max(length, 0))
            if len(content) != length:
                raise ValueError(f"{name}: expected {length} bytes, got {len(content)}")
            place = folders.setdefault(kind, folder / kind)
            if not content.startswith(b"PK\3\4"):
                count += 1
                _write(place, name, io.BytesIO(content))
                continue
            with _opened(name, content) as archive:
                inside = [entry for entry in archive.infolist() if not entry.is_dir()]
                count, size = count + len(inside), size + sum(entry.file_size for entry in inside)
                if size > MOST_BYTES or count > MOST_FILES:
                    raise ValueError(f"{name}: more than {MOST_BYTES >> 20} MB or {MOST_FILES} files; choose fewer")
                for entry in inside:
                    try:
                        with archive.open(entry) as member:
                            _write(place, entry.filename, member)
                    except (zipfile.BadZipFile, RuntimeError) as error:  # damaged; locked, or packed in another way
                        raise ValueError(f"{name}: {entry.filename} cannot be unpacked: {error}") from error
    if count > MOST_FILES:
        raise ValueError(f"more than {MOST_FILES} files; choose fewer")
    (folder / "sent").unlink()
    return folders


def _opened(name: str, content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{name}: this zip is damaged: {error}") from error


def _write(folder: Path, name: str, content: IO[bytes]) -> None:
    """Below ``folder`` whatever ``name`` says; two of one name stay two."""
    parts = PurePosixPath(name.replace("\\", "/").replace("\0", "")).parts
    path = folder.joinpath(*[part[-60:] for part in parts if part.strip("/.")] or ["image"])
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while path.exists():
        number += 1
        path = path.with_name(f"{number}-{path.name.removeprefix(f'{number - 1}-')}")
    with path.open("wb") as target:
        shutil.copyfileobj(content, target)


def _answer(saved: SavedModel, folders: Mapping[Modality, Path], folder: Path) -> dict[str, Any]:
    """As ``predict_files``, with the pictures as the model sees them, flags in words and what is not used."""
    refs: dict[Modality, list[ImageRef]] = {"xray": [], "ct": []}
    left_out: list[str] = []
    for kind, place in folders.items():
        left_out += [f"{name} is no image" for name in list_images(place).others]
        refs[kind], words = asked_images([place], kind)
        left_out += words
    document = predict_files(saved, refs["xray"], refs["ct"])
    pictures: dict[str, dict[str, str]] = {}
    for kind in _KINDS:
        for row in document["predictions"]:
            row["flags"][kind] = [FLAG_WORDS[code] for code in row["flags"].get(kind, ())]
        names = {row[kind] for row in document["predictions"] if row[kind]}
        pictures[kind] = _pictures(saved, [ref for ref in refs[kind] if str(ref) in names], kind)
    return {**document, "pictures": pictures, "left_out": left_out}


def _pictures(saved: SavedModel, refs: Sequence[ImageRef], kind: Modality) -> dict[str, str]:
    if not refs:
        return {}
    seen = decode_all(refs, saved.facts["image_size"], saved.facts["aspect"], CacheConfig(), None, kind, saved.windows)
    return {str(ref): _url(Image.fromarray(picture)) for ref, picture in zip(refs, seen.images, strict=True)}


def _maps(saved: SavedModel, grad_cam: GradCam, folders: Mapping[Modality, Path]) -> dict[str, Any]:
    """Of one picture of each kind, as ``_answer`` gave it: by kind and label an overlay and what is to say of it."""
    side = saved.facts["image_size"]
    pictures: dict[str, NDArray[np.uint8]] = {}
    for kind, place in folders.items():
        with Image.open(next(place.iterdir()), formats=["PNG"]) as image:
            if image.size != (side, side):
                raise ValueError(f"expected a picture of {side} x {side} pixels, got {image.size[0]} x {image.size[1]}")
            pictures[str(kind)] = np.asarray(image.convert("RGB"))
    labels = {"xray": saved.findings, "ct": saved.cancer_classes}
    return {
        kind: {
            name: {"picture": _url(overlay(pictures[kind], heat)), "words": map_words(heat)}
            for name, heat in zip(labels[kind], found, strict=True)
        }
        for kind, found in grad_cam.maps(pictures).items()
    }


def _url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
