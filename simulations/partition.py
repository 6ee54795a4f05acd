"""One X-ray folder and one CT folder become the folders of N hospitals and of the server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fedthorax.common.ground.new_folder import check_new_folder, new_folder
from fedthorax.common.hospital.patient_ids import unclear_ids
from fedthorax.simulations.partition_input import (
    CtFolder,
    Slice,
    Xray,
    XrayFolder,
    read_ct_folder,
    read_xray_folder,
)
from fedthorax.simulations.partition_lists import by_lists
from fedthorax.simulations.partition_output import moves, put, write_labels, write_slices
from fedthorax.simulations.partition_places import CENTRAL, places
from fedthorax.simulations.partition_plan import PartitionPlan
from fedthorax.simulations.site_plot import FILE_NAME, SiteCounts, count_site, write_site_plot

__all__ = ["PartitionPlan", "PartitionSummary", "partition"]


@dataclass(frozen=True)
class PartitionSummary:
    """``sites`` has the hospitals by name, then ``central/valid`` and ``central/test``. ``notes`` are to be shown."""

    out: Path
    num_images: int
    sites: Mapping[str, SiteCounts]
    notes: tuple[str, ...]


def partition(plan: PartitionPlan, progress: Callable[[int, int], None] | None = None) -> PartitionSummary:
    """Writes ``out/NAME/xray`` and ``out/NAME/ct`` for every hospital, and ``out/central``, all of it or nothing.

    Every image of the input goes to exactly one place, and so does every patient, X-rays and CT slices together.
    Images are moved as they are; what a run could not decode is left out and noted. Raises ``ValueError`` or
    ``FileNotFoundError`` for input that cannot be split as planned, ``FileExistsError`` where ``out`` is not empty.
    ``progress`` is told (images done, in all) of each folder that is read, and then of what is written.
    """
    check_new_folder(plan.out)
    _require_apart(plan)
    xray = XrayFolder()
    if plan.xray is not None:
        xray = read_xray_folder(plan.xray, plan.xray_labels, plan.label_file, progress)
    xray, tested = by_lists(xray, plan.train_list, plan.test_list)
    ct = CtFolder()
    if plan.ct is not None:
        ct = read_ct_folder(plan.ct, None, plan.ct_labels, plan.ct_mapping, progress)
    central_ct = {
        split: read_ct_folder(folder, split, None, plan.ct_mapping, progress)
        for split, folder in (("valid", plan.ct_valid), ("test", plan.ct_test))
        if folder is not None
    }
    place, names = places(plan, xray, ct, central_ct, tested)
    xrays_at: dict[str, list[Xray]] = {name: [] for name in names}
    slices_at: dict[str, list[Slice]] = {name: [] for name in names}
    for image in xray.images:
        name = place[image.patient]
        row = plan.limits.annotated(name, image.row, xray.findings)
        xrays_at[name].append(image if row is image.row else replace(image, row=row))
    for slice_ in ct.images:
        slices_at[place[slice_.patient]].append(slice_)
    for split, folder in central_ct.items():
        slices_at[CENTRAL[split]] += folder.images
    classes = sorted({name for folder in (ct, *central_ct.values()) for name in folder.classes})

    total = sum(map(len, xrays_at.values())) + sum(map(len, slices_at.values()))
    done = 0
    with new_folder(plan.out) as out:
        for name in names:
            for source, target in moves(name, xrays_at[name], slices_at[name]):
                put(source, out / target, plan.link)
                done += 1
                if progress is not None:
                    progress(done, total)
        write_labels(out, xray, {name: found for name, found in xrays_at.items() if plan.limits.has(name, "xray")})
        write_slices(out, slices_at)
        for name in names:
            for modality, given in (("xray", plan.xray is not None), ("ct", bool(classes))):
                if given and plan.limits.has(name, modality):
                    (out / name.partition("/")[0] / modality).mkdir(parents=True, exist_ok=True)
        sites = _counts(xrays_at, slices_at, xray.findings, classes)
        write_site_plot(out / FILE_NAME, sites)
    notes = [*xray.notes, *ct.notes, *(note for folder in central_ct.values() for note in folder.notes)]
    known = {image.patient for image in xray.images if image.row["patient_id"]}
    known |= {slice_.patient for folder in (ct, *central_ct.values()) for slice_ in folder.images if slice_.identified}
    notes += [
        f"{' = '.join(same)}: one id or several? Written alike, such people stay at one hospital"
        for same in unclear_ids(sorted(known))
    ]
    return PartitionSummary(Path(plan.out), total, sites, (*notes, *_gaps(sites)))


def _counts(
    xrays_at: Mapping[str, Sequence[Xray]],
    slices_at: Mapping[str, Sequence[Slice]],
    findings: Sequence[str],
    classes: Sequence[str],
) -> dict[str, SiteCounts]:
    return {
        name: count_site(
            [(image.patient, image.row) for image in xrays_at[name]],
            [(slice_.patient, slice_.cancer_class) for slice_ in slices_at[name]],
            findings,
            classes,
        )
        for name in xrays_at
    }


def _require_apart(plan: PartitionPlan) -> None:
    """A folder inside another would put its images in two places, output inside input would be input next time."""
    for source in (plan.xray, plan.ct, plan.ct_valid, plan.ct_test):
        if source is not None and Path(plan.out).resolve().is_relative_to(Path(source).resolve()):
            raise ValueError(f"{plan.out} lies inside the input folder {source}; name a folder outside of it")
    folders = {
        key: Path(folder).resolve()
        for key, folder in (("ct", plan.ct), ("ct_valid", plan.ct_valid), ("ct_test", plan.ct_test))
        if folder is not None
    }
    for outer, outer_path in folders.items():
        for inner, inner_path in folders.items():
            if inner != outer and inner_path.is_relative_to(outer_path):
                raise ValueError(
                    f"{inner} {inner_path} lies inside {outer} {outer_path}: its images would land twice; name folders "
                    "that do not overlap, such as ct/train"
                )


def _gaps(sites: Mapping[str, SiteCounts]) -> list[str]:
    """What a site has none of, though it has that modality; and modalities that a site lacks."""
    notes = []
    for name, counts in sites.items():
        for what, number in (("X-rays", counts.xrays), ("CT slices", counts.ct_slices)):
            if number == 0 and any(c.xrays if what == "X-rays" else c.ct_slices for c in sites.values()):
                notes.append(f"{name} has no {what}")
        absent = [finding for finding, count in counts.findings.items() if count.present == 0]
        if counts.xrays and absent:
            notes.append(f"{name} has no X-ray with {', '.join(absent)}")
        absent = [cancer for cancer, count in counts.cancer_classes.items() if count == 0]
        if counts.ct_slices and absent:
            notes.append(f"{name} has no CT slice of {', '.join(absent)}")
    return notes
