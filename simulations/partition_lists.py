"""A collection's own split, published as lists of file names, such as ChestX-ray14's train_val_list.txt."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from fedthorax.common.ground.wording import number_of
from fedthorax.common.records.table import listed
from fedthorax.simulations.partition_input import Xray, XrayFolder


def by_lists(xray: XrayFolder, train_list: Path | None, test_list: Path | None) -> tuple[XrayFolder, frozenset[str]]:
    """The X-rays that are used, and the patients of ``test_list``.

    With ``train_list`` an X-ray that stands in neither list is left out and noted; without it, it counts as listed
    there. Names that are no X-ray of the folder are noted. Raises ValueError for an image or a patient in both lists.
    """
    if train_list is None and test_list is None:
        return xray, frozenset()
    training = None if train_list is None else _names(train_list)
    testing = frozenset() if test_list is None else _names(test_list)
    if both := sorted((training or frozenset()) & testing):
        raise ValueError(f"{train_list} and {test_list} both name {listed(both, 3)}; an image belongs to one")
    tested = frozenset(image.patient for image in xray.images if _name(image) in testing)
    trained = {
        image.patient
        for image in xray.images
        if _name(image) not in testing and (training is None or _name(image) in training)
    }
    if torn := sorted(tested & trained):
        raise ValueError(
            f"{test_list} has only a part of the X-rays of patient {listed(torn, 3)}; all of a patient's belong to one "
            "side"
        )
    kept = tuple(
        image for image in xray.images if training is None or _name(image) in training or _name(image) in testing
    )
    if not kept:
        raise ValueError(
            f"none of {number_of(len(xray.images), 'X-ray')} stands in {train_list or test_list}; expected file names"
        )
    notes = list(xray.notes)
    if left_out := len(xray.images) - len(kept):
        notes.append(f"{number_of(left_out, 'X-ray stands', 'X-rays stand')} in neither list, and so not used")
    here = {_name(image) for image in xray.images}
    for path, names in ((train_list, training), (test_list, testing)):
        if path is not None and names and (missing := len(names - here)):
            are = "is" if missing == 1 else "are"
            notes.append(f"{missing} of the {len(names)} names in {path} {are} no X-ray of the folder")
    return replace(xray, images=kept, notes=tuple(notes)), tested


def _names(path: Path) -> frozenset[str]:
    """File names without folders; empty lines count for nothing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; expected a text file with a file name a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text file in UTF-8; expected a file name a line") from None
    names = frozenset(PurePosixPath(line.strip()).name for line in lines if line.strip())
    if not names:
        raise ValueError(f"{path} is empty; expected a file name a line")
    return names


def _name(image: Xray) -> str:
    return PurePosixPath(image.file).name
