"""What the scan of one folder finds."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.records import BadFile, CtRecord, XrayRecord
from fedthorax.common.records.table import listed

Record = TypeVar("Record", XrayRecord, CtRecord)


@dataclass(frozen=True)
class FolderRecords(Generic[Record]):
    """Records sorted by path, slices of a series by their place in the body; files that cannot be used; what else is to
    be said, which names no absolute path; and good files that are not what is wanted here, such as scout views.

    ``own_patients`` are the images of which nobody knows the patient, ``without_row`` those that the table
    ``label_file`` does not name; both by name, relative to the folder, a volume once for each slice. ``passed_over``
    slices are those that the experiment's choice leaves out. ``labels`` are the findings or classes in order.
    """

    records: tuple[Record, ...] = ()
    bad: tuple[BadFile, ...] = ()
    remarks: tuple[str, ...] = ()
    left_out: tuple[BadFile, ...] = ()
    own_patients: tuple[str, ...] = ()
    without_row: tuple[str, ...] = ()
    label_file: str = ""
    labels: tuple[str, ...] = ()
    passed_over: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """All that is to be said, in words."""
        said: list[str] = []
        if self.own_patients:
            ct = isinstance(self.records[0], CtRecord)
            what, each = ("CT slices", "each picture, series or volume") if ct else ("X-rays", "each")
            said.append(
                f"no patient is known for {len(self.own_patients)} of {len(self.records)} {what} "
                f"({listed(list(dict.fromkeys(self.own_patients)))}): {each} counts as a patient, so "
                f"{what.removeprefix('CT ')} of one person may stand in different splits"
            )
        if self.without_row:
            has, have = (f"{verb} no row in {self.label_file} and" for verb in ("image has", "images have"))
            said.append(
                f"{number_of(len(self.without_row), f'{has} is', f'{have} are')} not used: {listed(self.without_row)}"
            )
        if self.left_out:
            named = [f"{left.path.name} {left.reason}" for left in self.left_out]
            one = "picture is no chest radiograph or axial chest slice and is"
            many = "pictures are no chest radiographs or axial chest slices and are"
            said.append(f"{number_of(len(named), one, many)} not used: {listed(named)}")
        if self.passed_over:
            whole = self.passed_over + len(self.records)
            said.append(f"data.ct_slices passes over {self.passed_over} of {whole} CT slices")
        return (*said, *self.remarks)
