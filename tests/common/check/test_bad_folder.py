"""One hospital with every fault that the check knows, each made here; and one without any."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from fedthorax.common.check.check import SiteCheck
from fedthorax.common.issues.issue import CODES, Issue

Draw = Callable[..., np.ndarray]
Save = Callable[[np.ndarray, Path], Path]
Check = Callable[..., SiteCheck]

SITE = """\
name: mercy
xray: xray
ct: ct
labels: {findings: [Mass, Effusion], cancer_classes: [normal, tumour]}
"""


def found(check: SiteCheck, code: str, modality: str | None = None) -> Issue:
    (issue,) = [i for i in check.issues if i.code == code and (modality is None or i.modality == modality)]
    return issue


@pytest.fixture
def good(tmp_path: Path, chest: Draw, body: Draw, save: Save) -> Path:
    """12 X-rays and 8 slices of as many patients, all different, all in order."""
    rows = ["file,patient_id,Mass,Effusion,split"]
    for number in range(12):
        save(chest(number), tmp_path / f"xray/{number:02}.png")
        split = ("train", "valid", "test")[number // 4]
        rows.append(f"{number:02}.png,p{number},{number % 2},0,{split}")
    (tmp_path / "xray/labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for number in range(8):
        split, name = ("train", "test")[number % 2], ("normal", "tumour")[number // 4]
        save(body(number), tmp_path / f"ct/{split}/{name}/c{number}__1.png")
    (tmp_path / "site.yaml").write_text(SITE, encoding="utf-8")
    return tmp_path


def relabel(folder: Path, *rows: str, remove: str = "") -> None:
    path = folder / "xray/labels.csv"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not remove or remove not in line]
    path.write_text("\n".join([*lines, *rows]) + "\n", encoding="utf-8")


def test_a_folder_in_order_has_nothing_to_say(good: Path, check: Check) -> None:
    checked = check(good / "site.yaml")
    assert checked.issues == ()
    assert checked.counts["xray"]["labels"]["train"]["Mass"] == {"present": 2, "absent": 2, "unknown": 0}
    assert checked.counts["ct"]["labels"]["test"] == {"normal": {"present": 2}, "tumour": {"present": 2}}
    assert checked.counts["ct"]["files"]["size"] == {"96 x 96": 8}


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_called_damaged(good: Path, check: Check) -> None:
    (good / "xray/03.png").chmod(0)
    assert found(check(good / "site.yaml"), "file-no-permission").files == ("03.png",)


def test_permission_is_told_by_the_error_of_the_system(
    good: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "03.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    issue = found(check(good / "site.yaml"), "file-no-permission")
    assert (issue.count, issue.files, issue.level) == (1, ("03.png",), "error")


def test_truncated_empty_and_foreign_files_are_told_apart(good: Path, check: Check) -> None:
    whole = (good / "xray/00.png").read_bytes()
    (good / "xray/00.png").write_bytes(whole[: len(whole) // 2])
    (good / "xray/01.png").write_bytes(b"")
    (good / "ct/train/normal/c0__1.png").write_bytes(b"Dear colleague, please find attached")
    checked = check(good / "site.yaml")
    assert set(found(checked, "file-truncated").files) == {"00.png", "01.png"}
    assert found(checked, "file-not-an-image").files == ("train/normal/c0__1.png",)
    assert checked.counts["xray"]["files"]["read"] == 10


def dead(link: Path, gone: str = "/no such disk/there") -> None:
    link.symlink_to(gone)


def test_links_that_lead_nowhere_are_found_with_a_label_and_without_an_ending_and_of_a_folder(
    good: Path, check: Check
) -> None:
    for name in ("unlabelled.png", "IM0001", "03.png"):
        (good / "xray" / name).unlink(missing_ok=True)
        dead(good / "xray" / name)
    for name in ("test/more", "train/normal/IM0002", "train/normal/c9.png"):
        dead(good / "ct" / name)
    dead(good / "ct/round", "round")
    checked = check(good / "site.yaml")
    xray, ct = (found(checked, "file-broken-link", modality) for modality in ("xray", "ct"))
    assert (xray.level, set(xray.files)) == ("error", {"03.png", "IM0001", "unlabelled.png"})
    assert xray.sentence == "3 files of the X-rays: is a link to a file that does not exist"
    assert set(ct.files) == {"round", "test/more", "train/normal/IM0002", "train/normal/c9.png"}
    assert "is a link that leads back to itself; is a link to a file that does not exist (3)" in ct.sentence
    assert {issue.code for issue in checked.issues} == {"file-broken-link"} | {"patient-unknown"}


def test_a_table_of_slices_does_not_hide_a_link_that_leads_nowhere(good: Path, check: Check) -> None:
    names = sorted(path.relative_to(good / "ct").as_posix() for path in (good / "ct").glob("*/*/*.png"))
    rows = [f"{name},c{number},{name.split('/')[1]}" for number, name in enumerate(names)]
    (good / "ct/slices.csv").write_text("\n".join(["file,patient_id,class", *rows, "IM0007,c9,normal"]) + "\n")
    for name in ("IM0007", "c9.png"):
        dead(good / "ct" / name)
    checked = check(good / "site.yaml")
    assert set(found(checked, "file-broken-link").files) == {"IM0007", "c9.png"}
    assert {issue.code for issue in checked.issues} == {"file-broken-link"}


def test_links_that_lead_nowhere_are_found_among_images_without_labels(good: Path, check: Check) -> None:
    (good / "xray/labels.csv").unlink()
    for name in ("a.png", "IM0001"):
        dead(good / "xray" / name)
    assert set(found(check(good / "xray"), "file-broken-link").files) == {"a.png", "IM0001"}


def test_labels_without_images_and_images_without_labels(good: Path, check: Check) -> None:
    (good / "xray/05.png").unlink()
    relabel(good, remove="06.png")
    checked = check(good / "site.yaml")
    assert found(checked, "label-without-image").files == ("05.png",)
    assert found(checked, "image-without-label").files == ("06.png",)


def test_a_label_nobody_knows_is_said_and_the_pictures_are_still_checked(
    good: Path, check: Check, chest: Draw, save: Save
) -> None:
    relabel(good, "00.png,p0,maybe,0,train", remove="00.png")
    save(255 - chest(1), good / "xray/01.png")
    checked = check(good / "site.yaml")
    assert "maybe" in found(checked, "labels-unreadable").sentence
    assert found(checked, "inverted", "xray").files == ("01.png",)


def test_a_misspelt_class_folder_gets_a_suggestion(good: Path, check: Check) -> None:
    (good / "ct/train/tumour").rename(good / "ct/train/tumor")
    issue = found(check(good / "site.yaml"), "unknown-class")
    assert "tumor (did you mean 'tumour'?)" in issue.sentence or "tumour" in issue.sentence
    assert issue.count == 1
    assert len(issue.files) == 2


def test_the_same_pixels_on_two_sides_whatever_the_format(good: Path, check: Check) -> None:
    Image.open(good / "xray/00.png").convert("RGB").save(good / "xray/08.png")
    issue = found(check(good / "site.yaml"), "duplicate-across-splits")
    assert issue.groups == (("00.png", "08.png"),)
    assert issue.count == 1
    assert issue.sentence == "1 X-ray in test: same pixels as one in train"


def test_the_same_picture_smaller_brighter_and_as_jpeg_on_two_sides(good: Path, check: Check, chest: Draw) -> None:
    brighter = np.clip(chest(0) * 1.1 + 6.0, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).resize((70, 70)).save(good / "xray/08.jpg", quality=60)
    relabel(good, "08.jpg,p8,0,0,test", remove="08.png")
    (good / "xray/08.png").unlink()
    assert found(check(good / "site.yaml"), "near-duplicate-across-splits").groups == (("00.png", "08.jpg"),)


def test_the_same_picture_under_two_labels(good: Path, check: Check, body: Draw, save: Save) -> None:
    save(body(0), good / "ct/train/tumour/c9__1.png")
    issue = found(check(good / "site.yaml"), "duplicate-different-labels")
    assert set(issue.files) == {"train/normal/c0__1.png", "train/tumour/c9__1.png"}


def test_an_unknown_label_contradicts_nobody(good: Path, check: Check, chest: Draw, save: Save) -> None:
    save(chest(0), good / "xray/01.png")
    relabel(good, "00.png,p0,,0,train", "01.png,p1,1,,train", remove="0.png")
    relabel(good, remove="01.png,p1,1,0")
    checked = check(good / "site.yaml")
    assert "duplicate-different-labels" not in {issue.code for issue in checked.issues}
    assert set(found(checked, "duplicate-within-split").files) == {"00.png", "01.png"}


def test_one_patient_on_two_sides_across_x_ray_and_ct(good: Path, check: Check) -> None:
    (good / "ct/test/normal/c1__1.png").rename(good / "ct/test/normal/p0__1.png")
    issue = found(check(good / "site.yaml"), "patient-across-splits")
    assert issue.count == 1
    assert set(issue.files) == {"00.png", "test/normal/p0__1.png"}
    assert "p0" not in issue.sentence, "the sentence may leave the hospital"


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_radiograph_is_found(good: Path, check: Check, chest: Draw, save: Save, turns: int) -> None:
    save(np.rot90(chest(3), turns), good / "xray/03.png")
    assert found(check(good / "site.yaml"), "sideways").files == ("03.png",)


def test_inverted_greys_are_found_in_both_modalities(
    good: Path, check: Check, chest: Draw, body: Draw, save: Save
) -> None:
    save(255 - chest(3), good / "xray/03.png")
    save(255 - body(2), good / "ct/train/normal/c2__1.png")
    checked = check(good / "site.yaml")
    assert found(checked, "inverted", "xray").files == ("03.png",)
    assert found(checked, "inverted", "ct").files == ("train/normal/c2__1.png",)


def test_a_lateral_view_is_not_compared_with_a_frontal_chest(good: Path, check: Check, chest: Draw, save: Save) -> None:
    save(np.rot90(chest(3)), good / "xray/03.png")
    path = good / "xray/labels.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    views = ["view", *("LL" if line.startswith("03") else "PA" for line in lines[1:])]
    path.write_text("\n".join(f"{line},{view}" for line, view in zip(lines, views, strict=True)), encoding="utf-8")
    checked = check(good / "site.yaml")
    assert checked.counts["xray"]["attributes"]["view"] == {"PA": 11, "LL": 1}
    assert "sideways" not in {issue.code for issue in checked.issues}


def test_a_single_colour_a_photograph_and_a_wide_border(good: Path, check: Check, chest: Draw, save: Save) -> None:
    save(np.full((96, 96), 40, np.uint8), good / "xray/02.png")
    tinted = np.stack([chest(3), chest(3) // 2, chest(3) // 3], axis=2)
    save(tinted, good / "xray/03.png")
    framed = np.zeros((160, 160), np.uint8)
    framed[30:126, 20:116] = chest(5)
    save(framed, good / "xray/05.png")
    checked = check(good / "site.yaml")
    assert found(checked, "single-colour").files == ("02.png",)
    assert found(checked, "colour-photo").files == ("03.png",)
    assert found(checked, "framing").files == ("05.png",)


def test_writing_and_a_red_pen_are_found(good: Path, check: Check, chest: Draw, save: Save) -> None:
    written = Image.fromarray(chest(2, side=384))
    ImageDraw.Draw(written).text((12, 12), "DOE JOHN 1950", fill=255, font=ImageFont.load_default(22))
    written.save(good / "xray/02.png")
    marked = Image.fromarray(chest(3)).convert("RGB")
    ImageDraw.Draw(marked).line([(20, 20), (40, 30)], fill=(255, 0, 0))
    marked.save(good / "xray/03.png")
    assert set(found(check(good / "site.yaml"), "annotated").files) == {"02.png", "03.png"}


def test_copies_whose_split_is_yet_to_be_drawn(tmp_path: Path, check: Check, body: Draw, save: Save) -> None:
    for number in range(3):
        save(body(number), tmp_path / f"{'normal' if number else 'tumour'}/{number}.png")
    save(body(1), tmp_path / "normal/copy.png")
    checked = check(tmp_path)
    assert set(found(checked, "duplicate-undrawn").files) == {"normal/1.png", "normal/copy.png"}
    assert found(checked, "patient-unknown").count == 4
    assert checked.levels["error"] == 0


def test_a_size_that_gives_the_label_away(tmp_path: Path, check: Check, body: Draw, save: Save) -> None:
    for number in range(24):
        name, side = ("tumour", 80) if number % 2 else ("normal", 96)
        save(body(number, side), tmp_path / f"{name}/p{number}__1.png")
    issue = found(check(tmp_path), "shortcut")
    assert "picture size predicts normal with ROC-AUC 1.00" in issue.sentence


@pytest.mark.parametrize(
    ("elements", "frames", "code"),
    [({"Modality": "MR"}, 1, "file-other-modality"), ({"NumberOfFrames": 3}, 3, "file-unsupported")],
)
def test_what_renaming_does_not_mend_has_advice_of_its_own(
    tmp_path: Path, check: Check, write_dicom: Callable[..., Path], elements: dict[str, object], frames: int, code: str
) -> None:
    stored = np.arange(frames * 64, dtype=np.uint16).reshape((frames, 8, 8) if frames > 1 else (8, 8))
    write_dicom(tmp_path / "a.dcm", stored, **elements)
    (tmp_path / "labels.csv").write_text("file,Mass\na.dcm,1\n", encoding="utf-8")
    issue = found(check(tmp_path), code)
    assert issue.files == ("a.dcm",)
    assert "renaming does not mend" in issue.advice or "renam" not in issue.advice


def test_no_advice_tells_anybody_to_delete(good: Path) -> None:
    for code, meaning in CODES.items():
        for advice in filter(None, (meaning.advice, meaning.ct_advice)):
            words = advice.lower()
            assert "delete" not in words, code
            assert "remove" not in words or "do not remove" in words, code
            assert advice.endswith("."), code


def test_neighbouring_slices_are_spoken_of_where_ct_is_meant_and_nowhere_else() -> None:
    codes = [code for code, meaning in CODES.items() if meaning.ct_advice]
    assert codes == [
        "file-unsupported",
        "near-duplicate-different-labels",
        "near-duplicate-within-split",
        "patient-unknown",  # of series and volumes
    ]
    for code in codes:
        assert "slice" in Issue(code, 2, "", modality="ct").advice
        assert "slice" not in Issue(code, 2, "", modality="xray").advice
