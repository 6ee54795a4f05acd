"""What a person asks to be checked: a folder, a hospital's site.yaml, or an experiment file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from fedthorax.common.config import Experiment
from fedthorax.common.config.data import (
    CENTRAL,
    CT_WINDOWS,
    CtSlices,
    CtSource,
    CtWindow,
    SourceConfig,
    SplitFractions,
    XraySource,
)
from fedthorax.common.config.label_mapping import LabelMapping, LabelsConfig
from fedthorax.common.config.load import load_experiment, read_keys
from fedthorax.common.config.problems import dotted
from fedthorax.common.hospital.ct_folder import class_names
from fedthorax.common.hospital.ct_table import SLICES_FILE
from fedthorax.common.pixels.decode import Modality
from fedthorax.common.records.labels import split_of
from fedthorax.common.records.layouts import layout_of
from fedthorax.common.records.listing import is_image, normal_name
from fedthorax.common.records.named_findings import named_findings
from fedthorax.common.records.table import TABLES, listed, read_table
from fedthorax.common.records.xray_folder import named_label_file

AnySource = TypeVar("AnySource", XraySource, CtSource)
_FRACTIONS, _ALL_SLICES = SplitFractions(), CtSlices()


@dataclass(frozen=True)
class Target:
    """One hospital's folders, ``source`` or else ``loose``: a folder of images without any labels, of
    ``loose_modality`` unless their DICOM header says otherwise. ``findings`` and ``classes`` are None where the folder
    itself has to tell them. Splits are drawn as the run would draw them where ``seed`` is known, else only given splits
    count. ``accepted`` are the codes of errors with which the run goes on.
    """

    name: str
    source: SourceConfig | None = None
    loose: Path | None = None
    loose_modality: Modality = "xray"
    findings: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    fractions: SplitFractions = _FRACTIONS
    seed: int | None = None
    ct_windows: tuple[CtWindow, ...] = CT_WINDOWS
    ct_slices: CtSlices = _ALL_SLICES
    accepted: frozenset[str] = frozenset()

    @property
    def folders(self) -> dict[Modality, Path]:
        if self.source is None:
            return {} if self.loose is None else {"xray": self.loose, "ct": self.loose}
        return self.source.by_modality


def targets_of(path: Path, site: str | None = None, modality: Modality = "xray") -> list[Target]:
    """What ``path`` holds; of an experiment all hospitals and the server's own folders, or the one named ``site``.

    Raises FileNotFoundError, or ValueError where the path is no folder with images and no such file.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or file; expected images, a site.yaml or an experiment file")
    if path.is_dir():
        _refuse_site(site, path, "a folder")
        return [_of_folder(path, modality)]
    raw = read_keys(path, "an experiment file, or keys xray and ct")
    if "data" in raw:
        return _of_experiment(path, site)
    _refuse_site(site, path, "the file of one hospital")
    return [_of_site_file(path, raw)]


def _refuse_site(site: str | None, path: Path, what: str) -> None:
    if site is not None:
        raise ValueError(f"--site {site}: {path} is {what}; --site is for experiment files")


def _of_experiment(path: Path, site: str | None) -> list[Target]:
    experiment = load_experiment(path)
    data = experiment.data
    # What is null here only the site's own site.yaml names.
    sources = {name: (source, data.splits) for name, source in data.hospitals.items() if source is not None}
    if data.central is not None:
        sources.setdefault(CENTRAL, (data.central, data.central_splits))
    if not sources:
        raise ValueError(f"{path}: names no folder; each site has a site.yaml of its own, to be checked there")
    if site is not None:
        if site not in sources:
            raise ValueError(f"--site {site}: {path} has no folders of it; expected one of {', '.join(sources)}")
        sources = {site: sources[site]}
    return [in_experiment(experiment, name, *source) for name, source in sources.items()]


def in_experiment(experiment: Experiment, name: str, source: SourceConfig, fractions: SplitFractions) -> Target:
    """One hospital's folders as a run of ``experiment`` would read them."""
    data, labels = experiment.data, experiment.labels
    return Target(
        name,
        source,
        findings=labels.findings,
        classes=labels.cancer_classes,
        fractions=fractions,
        seed=experiment.seed,
        ct_windows=data.ct_windows,
        ct_slices=data.ct_slices,
        accepted=data.accepted,
    )


_Source = BeforeValidator(lambda value: {"folder": value} if isinstance(value, str) else value)


class _SiteFile(BaseModel):
    """What the check needs of a hospital's file; other keys are none of its business."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    name: str = "site"
    xray: Annotated[XraySource | None, _Source] = None
    ct: Annotated[CtSource | None, _Source] = None
    splits: str | None = None
    labels: LabelsConfig | None = None


def _of_site_file(path: Path, raw: dict[str, Any]) -> Target:
    try:
        site = _SiteFile.model_validate(raw)
    except ValidationError as error:
        lines = [f"{path}: {dotted(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise ValueError("\n".join(lines)) from None
    if site.xray is None and site.ct is None:
        raise ValueError(f"{path}: expected a key xray or ct with a folder, found {', '.join(map(str, raw))}")
    root = path.absolute().parent
    xray, ct = site.xray and _placed(site.xray, root), site.ct and _placed(site.ct, root)
    splits = None if site.splits is None else root / Path(site.splits).expanduser()
    return Target(
        site.name,
        SourceConfig(xray=xray and with_labels(xray), ct=ct, splits=splits),
        findings=site.labels.findings if site.labels else None,
        classes=site.labels.cancer_classes if site.labels else None,
    )


def _placed(source: AnySource, root: Path) -> AnySource:
    labels = source.labels and root / source.labels.expanduser()
    return source.model_copy(update={"folder": root / source.folder.expanduser(), "labels": labels})


def _of_folder(folder: Path, modality: Modality) -> Target:
    """By what lies in it: xray/ and ct/, else a table of CT slices, a label file, class folders, else loose images."""
    name = folder.absolute().name or "folder"
    below = {normal_name(place.name).lower(): place for place in sorted(folder.iterdir()) if place.is_dir()}
    if "xray" in below or "ct" in below:
        xray = _xray_source(below["xray"]) if "xray" in below else None
        ct = CtSource(folder=below["ct"]) if "ct" in below else None
        return Target(name, SourceConfig(xray=xray, ct=ct))
    tables = [table for table in tables_in(folder) if table.suffix == ".csv"]
    if (folder / SLICES_FILE).is_file() or (modality == "ct" and len(tables) == 1):
        labels = None if (folder / SLICES_FILE).is_file() else tables[0]
        return Target(name, SourceConfig(ct=CtSource(folder=folder, labels=labels)))
    try:
        labelled = label_file(folder) is not None
    except ValueError:  # several that may be it: the folder's reader says so
        labelled = True
    if labelled:
        return Target(name, SourceConfig(xray=_xray_source(folder)))
    if class_folders(folder):
        return Target(name, SourceConfig(ct=CtSource(folder=folder)))
    return Target(name, loose=folder, loose_modality=modality)


def with_labels(source: XraySource) -> XraySource:
    """``source`` with the label file that lies in its folder, where it names none and there is one and no other."""
    if source.labels is not None or not source.folder.is_dir():
        return source
    try:
        return source.model_copy(update={"labels": label_file(source.folder)})
    except ValueError:
        return source  # whoever reads the folder says which there are


def _xray_source(folder: Path) -> XraySource:
    return with_labels(XraySource(folder=folder))


def label_file(folder: Path) -> Path | None:
    """What a run would take, or else the one table of another name that names findings or cannot be read at all.

    Raises ValueError where there are several: then nobody knows which is meant.
    """
    if (named := named_label_file(folder)) is not None:
        return named
    others = [table for table in tables_in(folder) if table.name != SLICES_FILE and why_no_labels(table) is None]
    if len(others) > 1:
        raise ValueError(f"{folder}: several tables may be the label file ({listed([p.name for p in others])})")
    return others[0] if others else None


def tables_in(folder: Path) -> list[Path]:
    """What lies directly in ``folder`` and is called like a table, sorted."""
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(TABLES))


def why_no_labels(table: Path) -> str | None:
    """Why ``table`` is not taken for a label file; None where it names findings, or cannot be read: it may hold them
    then, and its reader says what is wrong."""
    try:
        found = read_table(table)
    except (ValueError, OSError):
        return None
    try:
        named_findings(found, layout_of(found, "auto", LabelMapping()))
    except ValueError as error:
        return str(error).removeprefix(f"{table}: ")
    return None


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the CT class folders: those directly in ``folder``, and those below train/, valid/ and test/.

    Empty if images lie outside such folders, or if there is only one folder, which is no class then.
    """
    names = class_names(folder)
    places = [folder, *(place for place in _visible(folder) if place.is_dir() and split_of(place.name))]
    outside = any(place.is_file() and is_image(place) for above in places for place in _visible(above))
    return names if len(names) > 1 and not outside else ()


def _visible(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if not place.name.startswith("."))
