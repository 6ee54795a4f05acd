"""One X-ray folder and one CT folder become the folders of N hospitals and of the server."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from fedthorax.common.check.target import LABEL_FILES, label_file
from fedthorax.common.seeds import derive_seed
from fedthorax.simulations.hospital_names import hospital_names
from fedthorax.simulations.new_folder import check_new_folder, new_folder
from fedthorax.simulations.partition_input import (
    CtFolder,
    Slice,
    Xray,
    XrayFolder,
    is_plain,
    read_ct_folder,
    read_xray_folder,
    require_folder,
)
from fedthorax.simulations.partition_layouts import LabelFile, read_layout_folder
from fedthorax.simulations.partition_output import Link, moves, put, write_labels, write_slices
from fedthorax.simulations.partition_rule import Subject, deal, deal_skewed, place_by_column
from fedthorax.simulations.site_counts import SiteCounts, count_site

Rule = Literal["equal", "sizes", "dirichlet", "column"]

_BY_HEADER = LabelFile()
_CENTRAL = {"valid": "central/valid", "test": "central/test"}


@dataclass(frozen=True)
class PartitionPlan:
    """What is split, and how. At least one of ``xray`` and ``ct`` is needed.

    ``label_file`` says how the X-rays' labels are to be read, where that is not seen in their header.
    ``hospitals``: names, or how many; None means 3, or as many as ``column`` has values. ``sizes`` are ratios of
    patients, one a hospital. ``alpha`` belongs to ``dirichlet``, ``column``, a column of the X-ray CSV, to ``column``.
    ``holdout_valid`` and ``holdout_test`` are shares of the X-ray patients for the central folder; its CT slices come
    from ``ct_valid`` and ``ct_test``, folders of classes, beside the slices of the patients held out.
    """

    out: Path
    xray: Path | None = None
    xray_labels: Path | None = None
    label_file: LabelFile = _BY_HEADER
    ct: Path | None = None
    hospitals: int | Sequence[str] | None = None
    by: Rule = "equal"
    sizes: Sequence[float] | None = None
    alpha: float | None = None
    column: str | None = None
    seed: int = 0
    holdout_valid: float = 0.0
    holdout_test: float = 0.0
    ct_valid: Path | None = None
    ct_test: Path | None = None
    link: Link = "copy"

    def __post_init__(self) -> None:
        if self.xray is None and self.ct is None:
            raise ValueError("there is nothing to split: name an X-ray folder, a CT folder, or both")
        for rule, key, value in [
            ("sizes", "sizes", self.sizes),
            ("dirichlet", "alpha", self.alpha),
            ("column", "column", self.column),
        ]:
            if self.by == rule and value is None:
                raise ValueError(f"by {rule} needs {key}")
            if self.by != rule and value is not None:
                raise ValueError(f"{key} belongs to by {rule}, but the rule is by {self.by}; leave one out")
        if self.by == "column" and self.xray is None:
            raise ValueError("by column needs an X-ray folder: CT folders have no label file with columns")
        if self.sizes is not None and (not self.sizes or min(self.sizes) <= 0 or not np.all(np.isfinite(self.sizes))):
            raise ValueError(f"sizes must be ratios above 0, one a hospital, got {list(self.sizes)}")
        if self.alpha is not None and not 0 < self.alpha < np.inf:
            raise ValueError(f"alpha must be above 0, got {self.alpha:g}")
        if min(self.holdout_valid, self.holdout_test) < 0 or not self.holdout_valid + self.holdout_test < 1:
            raise ValueError(
                "holdout_valid and holdout_test are shares that must not be negative and sum to less than 1, got "
                f"{self.holdout_valid:g} and {self.holdout_test:g}"
            )
        if self.holdout_valid + self.holdout_test > 0 and self.xray is None:
            raise ValueError("holdout_valid and holdout_test are shares of X-ray patients; name an X-ray folder")


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
    Images are moved as they are, never decoded. Raises ``ValueError`` or ``FileNotFoundError`` for input that cannot
    be split as planned, ``FileExistsError`` where ``out`` is not empty. ``progress`` is told (images written, in all).
    """
    check_new_folder(plan.out)
    _require_apart(plan)
    xray = (
        XrayFolder((), (), (), ()) if plan.xray is None else _read_xrays(plan.xray, plan.xray_labels, plan.label_file)
    )
    ct = CtFolder((), (), ()) if plan.ct is None else read_ct_folder(plan.ct)
    central_ct = {
        split: read_ct_folder(folder, split)
        for split, folder in (("valid", plan.ct_valid), ("test", plan.ct_test))
        if folder is not None
    }
    place, names = _places(plan, xray, ct, central_ct)
    xrays_at: dict[str, list[Xray]] = {name: [] for name in names}
    slices_at: dict[str, list[Slice]] = {name: [] for name in names}
    for image in xray.images:
        xrays_at[place[image.patient]].append(image)
    for slice_ in ct.images:
        slices_at[place[slice_.patient]].append(slice_)
    for split, folder in central_ct.items():
        slices_at[_CENTRAL[split]] += folder.images
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
        write_labels(out, xray, xrays_at)
        write_slices(out, slices_at)
        for name in names:
            for modality, given in (("xray", plan.xray is not None), ("ct", bool(classes))):
                if given:
                    (out / name.partition("/")[0] / modality).mkdir(parents=True, exist_ok=True)
    sites = {
        name: count_site(
            [(image.patient, image.row) for image in xrays_at[name]],
            [(slice_.patient, slice_.cancer_class) for slice_ in slices_at[name]],
            xray.findings,
            classes,
        )
        for name in names
    }
    notes = [*xray.notes, *ct.notes, *(note for folder in central_ct.values() for note in folder.notes)]
    return PartitionSummary(Path(plan.out), total, sites, (*notes, *_gaps(sites)))


def _places(
    plan: PartitionPlan, xray: XrayFolder, ct: CtFolder, central_ct: Mapping[str, CtFolder]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The site of every patient, and the names of all sites in order."""
    subjects = _subjects(xray, ct)
    place = _central_patients(subjects, central_ct)
    shares = (plan.holdout_valid, plan.holdout_test, 1 - plan.holdout_valid - plan.holdout_test)
    if sum(shares[:2]) > 0:
        with_xray = [s for s in subjects if s.findings is not None and s.patient not in place]
        for patient, index in deal(_stream(plan, "holdout"), with_xray, shares).items():
            if index < 2:
                place[patient] = list(_CENTRAL.values())[index]
    rest = [subject for subject in subjects if subject.patient not in place]

    if plan.column is not None:
        hospitals, by_column = _column_places(plan, plan.column, xray, {s.patient for s in rest})
        place |= by_column
        rest = [subject for subject in rest if subject.patient not in place]
    else:
        hospitals = hospital_names(_number(plan))
    if plan.alpha is not None:
        dealt = deal_skewed(_stream(plan, "dirichlet"), rest, len(hospitals), plan.alpha)
    else:
        ratios = plan.sizes if plan.sizes is not None else [1.0] * len(hospitals)
        if len(ratios) != len(hospitals):
            raise ValueError(f"sizes has {len(ratios)} ratios, but there are {len(hospitals)} hospitals; give one each")
        dealt = deal(_stream(plan, "hospitals"), rest, ratios)
    place |= {patient: hospitals[index] for patient, index in dealt.items()}
    has_central = bool(central_ct) or sum(shares[:2]) > 0
    return place, (*hospitals, *(_CENTRAL.values() if has_central else ()))


def _number(plan: PartitionPlan) -> int | Sequence[str]:
    if plan.hospitals is not None:
        return plan.hospitals
    return len(plan.sizes) if plan.sizes is not None else 3


def _read_xrays(folder: Path, labels: Path | None, how: LabelFile) -> XrayFolder:
    require_folder(folder, "X-ray folder")
    labels = labels or label_file(folder)
    if labels is None:
        raise FileNotFoundError(f"{folder} has no label file ({', '.join(LABEL_FILES)}); name it")
    if not labels.is_file():
        raise FileNotFoundError(f"{labels} is not there; expected a CSV file")
    if how.is_default and labels.suffix == ".csv" and is_plain(labels):
        return read_xray_folder(folder, labels)
    return read_layout_folder(folder, labels, how)


def _column_places(
    plan: PartitionPlan, column: str, xray: XrayFolder, patients: set[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    if column not in xray.columns:
        raise ValueError(f"the X-ray labels have no column {column!r}; they have {', '.join(xray.columns)}")
    values: dict[str, set[str]] = {}
    for image in xray.images:
        values.setdefault(image.patient, set()).add(image.row[column].strip())
    names = None if plan.hospitals is None or isinstance(plan.hospitals, int) else tuple(plan.hospitals)
    place = place_by_column(values, column, names)
    found = names if names is not None else tuple(sorted(set(place.values())))
    if isinstance(plan.hospitals, int) and plan.hospitals != len(found):
        raise ValueError(
            f"column {column} has {len(found)} values ({', '.join(found[:5])} …), but hospitals is {plan.hospitals}"
        )
    return hospital_names(found), {patient: name for patient, name in place.items() if patient in patients}


def _subjects(xray: XrayFolder, ct: CtFolder) -> list[Subject]:
    """All patients, sorted by id, so that the draw does not depend on the order of rows and files."""
    findings: dict[str, set[str]] = {}
    for image in xray.images:
        present = findings.setdefault(image.patient, set())
        present.update(name for name in xray.findings if image.row[name] == "1")
    classes: dict[str, list[str]] = {}
    for slice_ in ct.images:
        classes.setdefault(slice_.patient, []).append(slice_.cancer_class)
    return [
        Subject(
            patient,
            frozenset(findings[patient]) if patient in findings else None,
            tuple(name for name, _ in Counter(sorted(classes[patient])).most_common()) if patient in classes else None,
        )
        for patient in sorted({*findings, *classes})
    ]


def _central_patients(subjects: Iterable[Subject], central_ct: Mapping[str, CtFolder]) -> dict[str, str]:
    """Patients who must go to the server, because their CT slices were given for it."""
    split_of: dict[str, str] = {}
    for split, folder in central_ct.items():
        for slice_ in folder.images:
            if split_of.setdefault(slice_.patient, split) != split:
                raise ValueError(f"patient {slice_.patient} is in both ct_valid and ct_test; a patient belongs to one")
    place = {}
    for subject in subjects:
        if subject.patient in split_of:
            place[subject.patient] = _CENTRAL[split_of[subject.patient]]
    return place


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


def _stream(plan: PartitionPlan, purpose: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(plan.seed, "partition", purpose))
