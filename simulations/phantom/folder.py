"""Phantom hospitals on disk, in the layout that a real hospital uses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedthorax.common.ground.new_folder import new_folder, write_rows
from fedthorax.common.ground.seeds import derive_seed
from fedthorax.simulations.phantom.chest import FINDINGS
from fedthorax.simulations.phantom.cohort import (
    CENTRAL_MIX,
    Patient,
    draw_cohort,
    largest_remainder,
)
from fedthorax.simulations.phantom.manifest import PhantomArguments, is_untouched_phantom, write_manifest
from fedthorax.simulations.phantom.picture import plan_xrays, save_slice, save_xray, xray_suffix
from fedthorax.simulations.phantom.scanner import Look
from fedthorax.simulations.phantom.thorax import CANCER_CLASSES
from fedthorax.simulations.site_limits import SiteLimits
from fedthorax.simulations.site_plot import FILE_NAME, SiteCounts, count_site, write_site_plot

_CENTRAL_SHARES = {"valid": 0.4, "test": 0.6}
# Share of X-rays in one hospital that lack the label of one finding.
_UNKNOWN = 0.06
_FEWEST = 4  # patients, so that both modalities occur

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PhantomSummary:
    """What was drawn. ``sites`` has the hospitals by name, then ``central/valid`` and ``central/test``."""

    out: Path
    seed: int
    num_images: int
    sites: Mapping[str, SiteCounts]


@dataclass(frozen=True)
class _Member:
    """A patient, the machine that photographs it, and the split it belongs to (central only)."""

    patient: Patient
    look: Look
    split: str | None = None


def write_phantom(
    out: Path, arguments: PhantomArguments, *, progress: Progress | None = None, overwrite: bool = False
) -> PhantomSummary:
    """Draws every hospital's X-rays and CT slices below ``out`` and returns what there is.

    The same arguments give the same bytes. ``sites.png`` shows what each hospital got. ``progress`` is told (images
    drawn, images in all).

    Raises ``FileExistsError`` where ``out`` is not empty, unless ``overwrite`` is true and it holds an earlier phantom
    and nothing else.
    """
    groups = _groups(arguments)
    total = sum(m.patient.num_xrays + m.patient.num_slices for members in groups.values() for m in members)
    drawn = 0

    def tick() -> None:
        nonlocal drawn
        drawn += 1
        if progress is not None:
            progress(drawn, total)

    sites: dict[str, SiteCounts] = {}
    with new_folder(out, is_untouched_phantom if overwrite else None) as folder:
        for index, (name, members) in enumerate(groups.items()):
            unlabelled = name != "central" and index == min(1, len(arguments.hospitals) - 1)
            sites |= _write_site(folder / name, name, members, arguments, unlabelled, tick)
        write_site_plot(folder / FILE_NAME, sites)
        write_manifest(folder, arguments)
    return PhantomSummary(Path(out), arguments.seed, total, sites)


def _groups(arguments: PhantomArguments) -> dict[str, list[_Member]]:
    """The members of every hospital and of the central folder, by folder name."""
    groups: dict[str, list[_Member]] = {}
    count = len(arguments.hospitals)
    variety = arguments.variety
    mixes, looks = variety.mixes(count, arguments.seed), [variety.look(index) for index in range(count)]
    sizes = largest_remainder(arguments.patients * count, [mix.size for mix in mixes])
    for name, size, mix, look in zip(arguments.hospitals, sizes, mixes, looks, strict=True):
        rng = np.random.default_rng(derive_seed(arguments.seed, "phantom", name))
        cohort = draw_cohort(rng, name, max(size, _FEWEST) if variety.size_alpha is not None else size, mix)
        groups[name] = [_Member(left, look) for p in cohort if (left := _limited(p, name, variety.limits)) is not None]
    if arguments.central:
        members: list[_Member] = []
        size = max(10, round(1.2 * arguments.patients))
        for split, share in _CENTRAL_SHARES.items():
            rng = np.random.default_rng(derive_seed(arguments.seed, "phantom", "central", split))
            cohort = draw_cohort(rng, "central", round(size * share), CENTRAL_MIX, first=len(members) + 1)
            members += [_Member(p, looks[i % count], split) for i, p in enumerate(cohort)]
        groups["central"] = members
    return groups


def _limited(patient: Patient, hospital: str, limits: SiteLimits) -> Patient | None:
    """The patient without the images that the hospital cannot take; None where no image would be left."""
    if not limits.has(hospital, "xray"):
        patient = replace(patient, num_xrays=0, findings=None)
    if not limits.has(hospital, "ct"):
        patient = replace(patient, num_slices=0, cancer_class=None)
    return patient if patient.num_xrays or patient.num_slices else None


def _write_site(
    folder: Path,
    name: str,
    members: Sequence[_Member],
    arguments: PhantomArguments,
    unlabelled: bool,
    tick: Callable[[], None],
) -> dict[str, SiteCounts]:
    limits = arguments.variety.limits
    split_column = ["split"] if name == "central" else []
    rows: list[dict[str, str]] = []
    slices: list[dict[str, str]] = []
    if limits.has(name, "xray"):
        rows = _write_xrays(folder / "xray", members, arguments, tick)
        if unlabelled:
            _forget_labels(np.random.default_rng(derive_seed(arguments.seed, "phantom", name, "unknown")), rows)
        rows = [dict(limits.annotated(name, row, FINDINGS)) for row in rows]
        columns = ["file", "patient_id", "age", "sex", "view", *FINDINGS, *split_column]
        write_rows(folder / "xray/labels.csv", columns, rows)
    if limits.has(name, "ct"):
        slices = _write_slices(folder / "ct", members, arguments, tick)
        write_rows(folder / "ct/slices.csv", ["file", "patient_id", *split_column], slices)
    counts = {}
    for split in _CENTRAL_SHARES if name == "central" else (None,):
        counts[name if split is None else f"{name}/{split}"] = count_site(
            [(row["patient_id"], row) for row in rows if row.get("split") == split],
            [(row["patient_id"], Path(row["file"]).parent.name) for row in slices if row.get("split") == split],
            FINDINGS,
            CANCER_CLASSES,
        )
    return counts


def _write_xrays(
    folder: Path, members: Sequence[_Member], arguments: PhantomArguments, tick: Callable[[], None]
) -> list[dict[str, str]]:
    (folder / "images").mkdir(parents=True)
    rows = []
    for member in members:
        patient = member.patient
        for plan in plan_xrays(arguments.seed, patient):
            file = f"images/{plan.stem}.{xray_suffix(member.look)}"
            save_xray(folder / file, arguments.seed, plan, member.look, arguments.image_size)
            tick()
            row = {
                "file": file,
                "patient_id": patient.identifier,
                "age": str(patient.age),
                "sex": "F" if patient.female else "M",
                "view": plan.view,
            }
            row |= {finding: str(int(finding in plan.present)) for finding in FINDINGS}
            rows.append(row if member.split is None else row | {"split": member.split})
    return rows


def _write_slices(
    folder: Path, members: Sequence[_Member], arguments: PhantomArguments, tick: Callable[[], None]
) -> list[dict[str, str]]:
    folder.mkdir(parents=True)
    rows = []
    for member in members:
        patient = member.patient
        for number in range(1, patient.num_slices + 1):
            parts = [member.split] if member.split is not None else []
            file = "/".join([*parts, str(patient.cancer_class), f"{patient.identifier}_{number:02d}.png"])
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            save_slice(folder / file, arguments.seed, patient, number, member.look, arguments.image_size)
            tick()
            row = {"file": file, "patient_id": patient.identifier}
            rows.append(row if member.split is None else row | {"split": member.split})
    return rows


def _forget_labels(rng: np.random.Generator, rows: Sequence[dict[str, str]]) -> None:
    """Empties one finding in a few rows: not annotated, which is neither present nor absent."""
    for index in rng.permutation(len(rows))[: max(1, round(_UNKNOWN * len(rows)))]:
        rows[index][FINDINGS[int(rng.integers(len(FINDINGS)))]] = ""
