"""``phantom.json``: what a phantom folder was drawn with, so that it is neither redrawn nor overwritten in error."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedthorax.simulations.hospital_names import hospital_names
from fedthorax.simulations.phantom.variety import Variety

_MANIFEST = "phantom.json"
_README = "README.txt"
_KIND = "fedthorax phantom"
# Left behind by file managers, never by a person.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}
_USUAL = Variety()


@dataclass(frozen=True)
class PhantomArguments:
    """What the images depend on, checked."""

    hospitals: tuple[str, ...]
    patients: int
    image_size: int
    seed: int
    central: bool
    variety: Variety


def phantom_arguments(
    hospitals: int | Sequence[str] = 3,
    *,
    patients: int = 60,
    image_size: int = 128,
    seed: int = 0,
    central: bool = True,
    variety: Variety = _USUAL,
) -> PhantomArguments:
    """``patients`` is the mean number per hospital: hospitals differ in size, case mix and machines. ``image_size`` is
    the shorter side of the first hospital's images in pixels; other machines are up to 10 % off. ``variety`` says how
    unlike the hospitals are. ``ValueError`` where they are impossible."""
    if patients < 4:
        raise ValueError(f"patients must be at least 4 a hospital, so that both modalities occur, got {patients}")
    if not 32 <= image_size <= 1024:
        raise ValueError(f"image_size must be between 32 and 1024 pixels, got {image_size}")
    if not 0 <= seed < 2**31:
        raise ValueError(f"seed must be in [0, 2**31), got {seed}")
    names = hospital_names(hospitals)
    variety.check(names)
    return PhantomArguments(names, patients, image_size, seed, central, variety)


def write_manifest(folder: Path, arguments: PhantomArguments) -> None:
    """The last thing written: lists every file with its size, and tells people what the folder is."""
    (folder / _README).write_text(_readme(arguments), encoding="utf-8")
    manifest = {
        "kind": _KIND,
        "arguments": asdict(arguments),
        "drawing_sha256": _drawing_sha256(),
        "files": _sizes(folder),
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def phantom_is_current(out: Path, arguments: PhantomArguments) -> bool:
    """Whether ``out`` was drawn with these arguments by this version of the drawing, and no file differs in size."""
    manifest = _read(out)
    return (
        manifest is not None
        and manifest.get("arguments") == json.loads(json.dumps(asdict(arguments)))
        and manifest.get("drawing_sha256") == _drawing_sha256()
        and manifest.get("files") == _sizes(out)
    )


def is_untouched_phantom(out: Path) -> bool:
    """Whether ``out`` is a phantom folder that holds nothing but what was drawn, and may thus be thrown away."""
    manifest = _read(out)
    return manifest is not None and set(_sizes(out)) <= set(manifest.get("files", ()))


def _read(out: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((out / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get("kind") == _KIND else None


def _sizes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in _LITTER and path != folder / _MANIFEST
    }


def _drawing_sha256() -> str:
    """Hash of the drawing's own source, so that a folder drawn by an older version is not taken for current."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _further(variety: Variety) -> str:
    """The options that are not the usual ones, as they are typed."""
    usual, limits = Variety(), variety.limits
    parts = [f"--shift {variety.shift:g}"] * (variety.shift != usual.shift)
    parts += [f"--shift-in {','.join(variety.aspects)}"] * (variety.aspects != usual.aspects)
    parts += [f"--alpha {variety.alpha:g}"] if variety.alpha is not None else []
    parts += [f"--size-alpha {variety.size_alpha:g}"] if variety.size_alpha is not None else []
    for option, of_hospitals in (("--without", limits.without), ("--annotates", limits.annotates)):
        parts += [f"{option} {name}={','.join(values)}" for name, values in of_hospitals.items()]
    return "".join(f" {part}" for part in parts)


def _readme(arguments: PhantomArguments) -> str:
    names = " ".join(f'"{name}"' if " " in name else name for name in arguments.hospitals)
    return (
        "These images are synthetic. No picture here was taken of a person; names, ages and findings are invented.\n"
        "They exist to try out and test FedThorax and say nothing about how well a model reads real images.\n\n"
        f"Hospitals: {names}. Patients a hospital, on average: {arguments.patients}. "
        f"Image size: {arguments.image_size}. Seed: {arguments.seed}. Central folder: "
        f"{'yes' if arguments.central else 'no'}.\n"
        f"Drawn by: fedthorax phantom OUT --hospitals {len(arguments.hospitals)} --patients {arguments.patients} "
        f"--size {arguments.image_size} --seed {arguments.seed}{_further(arguments.variety)}\n\n"
        "NAME/xray/labels.csv   file, patient_id, age, sex, view, one column a finding: 1 present, 0 absent, empty "
        "unknown\n"
        "NAME/ct/CLASS/         axial slices in a lung window; NAME/ct/slices.csv says whose they are\n"
        "central/               the server's own data, split into valid and test; nobody trains on it\n"
    )
