"""X-rays to be dealt out whose label file is in one of the public collections' layouts, or in a hospital's own.

What the layouts of ``common/records/layouts.py`` read becomes rows of the plain form, which every hospital then gets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedthorax.common.check.target import findings_in
from fedthorax.common.config.data import XraySource
from fedthorax.common.config.label_mapping import LabelFormat, LabelMapping
from fedthorax.common.config.yaml_text import read_yaml
from fedthorax.common.records.listing import normal_name
from fedthorax.common.records.records import XrayRecord
from fedthorax.common.records.xray_folder import xray_records
from fedthorax.simulations.partition_input import Xray, XrayFolder

# Of an image or a report, and no findings: PadChest's words.
_NO_FINDINGS = frozenset({"exclude", "unchanged", "No Finding", "normal"})
_NOT_KNOWN = "X-ray "  # how a patient is called of whom nobody knows


@dataclass(frozen=True)
class LabelFile:
    """How the label file is to be read. ``mapping`` is a YAML file; ``further`` are tables that are joined to it."""

    format: LabelFormat = "auto"
    mapping: Path | None = None
    further: tuple[Path, ...] = ()

    @property
    def is_default(self) -> bool:
        return self.format == "auto" and self.mapping is None and not self.further


def read_layout_folder(folder: Path, labels: Path, how: LabelFile) -> XrayFolder:
    """Every image that the label file names. Uncertain is unknown, unless the mapping says otherwise."""
    mapping = None if how.mapping is None else LabelMapping.model_validate(read_yaml(how.mapping.read_bytes()))
    source = XraySource(folder=folder, labels=labels, format=how.format, mapping=mapping, further_tables=how.further)
    findings = _findings(labels, mapping)
    try:
        found = xray_records(source, findings)
    except ValueError as error:  # its advice is for an experiment file
        words = str(error).replace("under xray.mapping", "with --mapping")
        raise ValueError(words.replace("under xray.further_tables", "with --further")) from error
    if not found.records:
        raise FileNotFoundError(f"none of the images that {labels} names lies below {folder}")
    notes = [note.replace("different splits", "different hospitals") for note in found.notes]
    if found.bad:
        notes.append(f"{len(found.bad)} rows of {labels} name images that are not below {folder} and were left out")
    with_split = any(record.split for record in found.records)
    columns = ["file", "patient_id", "age", "sex", "view", "scanner", *(["split"] if with_split else []), *findings]
    names = {record.path: normal_name(record.path.relative_to(folder).as_posix()) for record in found.records}
    in_images = all(name.startswith("images/") for name in names.values())
    images = []
    for record in found.records:
        file = names[record.path] if in_images else f"images/{names[record.path]}"
        row = _row(record, file, findings)
        images.append(Xray(record.path, file, record.patient, {column: row[column] for column in columns}))
    return XrayFolder(tuple(images), tuple(columns), findings, tuple(notes))


def _findings(labels: Path, mapping: LabelMapping | None) -> tuple[str, ...]:
    """By the file's own names, or by those that the mapping gives them."""
    named = [name for name in findings_in(labels) if name not in _NO_FINDINGS]
    names = {} if mapping is None else mapping.names
    targets = [names.get(name, name) for name in named] + [name for name in names.values() if name]
    return tuple(dict.fromkeys(name for name in targets if name))


def _row(record: XrayRecord, file: str, findings: Sequence[str]) -> dict[str, str]:
    known = record.attributes
    age = known.age_years
    return {
        "file": file,
        "patient_id": "" if record.patient.startswith(_NOT_KNOWN) else record.patient,
        "age": "" if age is None else f"{age:g}",
        "sex": known.sex or "",
        "view": known.view or "",
        "scanner": known.scanner or "",
        "split": record.split or "",
        **{
            name: "" if math.isnan(value) else f"{value:.0f}"
            for name, value in zip(findings, record.findings, strict=True)
        },
    }
