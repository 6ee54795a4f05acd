"""Phantom hospitals: what is on disk, that it repeats bit by bit, that what is labelled is what was drawn."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedthorax.simulations.phantom import phantom_arguments, phantom_is_current, write_phantom
from fedthorax.simulations.phantom.canvas import Pose
from fedthorax.simulations.phantom.chest import FINDINGS, draw_chest, draw_pathology
from fedthorax.simulations.phantom.cohort import CENTRAL_MIX, draw_cohort, largest_remainder
from fedthorax.simulations.phantom.ct import draw_slice
from fedthorax.simulations.phantom.folder import PhantomSummary
from fedthorax.simulations.phantom.thorax import CANCER_CLASSES, draw_thorax, draw_tumour
from fedthorax.simulations.phantom.xray import draw_xray

SMALL = {"hospitals": 3, "patients": 6, "image_size": 40, "seed": 5}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomSummary:
    return write_phantom(tmp_path_factory.mktemp("phantom") / "small", phantom_arguments(**SMALL))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_arguments_give_the_same_bytes_twice(phantom: PhantomSummary, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", phantom_arguments(**SMALL))
    assert digests(tmp_path / "again") == digests(phantom.out)


def test_another_seed_gives_other_pictures(phantom: PhantomSummary, tmp_path: Path) -> None:
    write_phantom(tmp_path / "other", phantom_arguments(**SMALL | {"seed": 6}))
    ours, theirs = digests(phantom.out), digests(tmp_path / "other")
    pictures = [name for name in ours if name.endswith((".png", ".jpg")) and name in theirs]
    assert pictures
    assert all(ours[name] != theirs[name] for name in pictures)


@pytest.mark.parametrize("site", ["north", "south", "east", "central"])
def test_every_row_has_its_image_and_every_image_its_row(phantom: PhantomSummary, site: str) -> None:
    for modality, table in (("xray", "labels.csv"), ("ct", "slices.csv")):
        folder = phantom.out / site / modality
        named = [row["file"] for row in rows_of(folder / table)]
        there = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.suffix in (".png", ".jpg")]
        assert sorted(named) == sorted(there)


def test_the_summary_counts_what_is_on_disk(phantom: PhantomSummary) -> None:
    assert list(phantom.sites) == ["north", "south", "east", "central/valid", "central/test"]
    rows = rows_of(phantom.out / "south/xray/labels.csv")
    counts = phantom.sites["south"]
    assert counts.xrays == len(rows)
    assert counts.findings["Nodule"].present == sum(row["Nodule"] == "1" for row in rows)
    assert sum(counts.cancer_classes.values()) == counts.ct_slices == len(rows_of(phantom.out / "south/ct/slices.csv"))
    images = [p for p in phantom.out.rglob("*/*") if p.suffix in (".png", ".jpg")]
    assert phantom.num_images == len(images) == sum(c.xrays + c.ct_slices for c in phantom.sites.values())


def test_no_patient_is_in_two_places_and_central_patients_are_in_one_split(phantom: PhantomSummary) -> None:
    places: dict[str, set[str]] = {}
    for site in ("north", "south", "east", "central"):
        for table in ("xray/labels.csv", "ct/slices.csv"):
            for row in rows_of(phantom.out / site / table):
                places.setdefault(row["patient_id"], set()).add(f"{site}/{row.get('split', '')}")
    assert all(len(found) == 1 for found in places.values())


def test_some_patients_have_both_modalities_under_one_id(phantom: PhantomSummary) -> None:
    xray = {row["patient_id"] for row in rows_of(phantom.out / "north/xray/labels.csv")}
    ct = {row["patient_id"] for row in rows_of(phantom.out / "north/ct/slices.csv")}
    assert len(xray & ct) == phantom.sites["north"].patients_with_both > 0


def test_central_ct_folders_agree_with_the_split_column(phantom: PhantomSummary) -> None:
    rows = rows_of(phantom.out / "central/ct/slices.csv")
    assert {row["split"] for row in rows} == {"valid", "test"}
    assert all(row["file"].split("/")[0] == row["split"] for row in rows)
    assert {row["file"].split("/")[1] for row in rows} <= set(CANCER_CLASSES)


def test_labels_are_unknown_in_one_hospital_only(phantom: PhantomSummary) -> None:
    unknown = {name: sum(c.unknown for c in counts.findings.values()) for name, counts in phantom.sites.items()}
    assert unknown.pop("south") > 0
    assert set(unknown.values()) == {0}


def test_hospitals_differ_in_size_shape_depth_and_format(phantom: PhantomSummary) -> None:
    looks = {}
    for site in ("north", "south", "east"):
        first = phantom.out / site / "xray" / rows_of(phantom.out / site / "xray/labels.csv")[0]["file"]
        with Image.open(first) as image:
            looks[site] = image.format, image.mode, image.size
    assert looks == {
        "north": ("PNG", "L", (40, 40)),
        "south": ("JPEG", "L", (36, 43)),
        "east": ("PNG", "I;16", (52, 44)),
    }
    assert phantom.sites["north"].patients > phantom.sites["east"].patients > phantom.sites["south"].patients


def test_the_folder_says_that_it_is_synthetic_and_how_it_was_drawn(phantom: PhantomSummary) -> None:
    text = (phantom.out / "README.txt").read_text(encoding="utf-8")
    assert "synthetic" in text
    assert "--hospitals 3 --patients 6 --size 40 --seed 5" in text


def test_a_phantom_is_current_until_an_argument_or_a_file_changes(tmp_path: Path) -> None:
    out = tmp_path / "one"
    arguments = phantom_arguments(["Klinik A"], patients=4, image_size=32, central=False)
    assert not phantom_is_current(out, arguments)
    write_phantom(out, arguments)
    assert phantom_is_current(out, arguments)
    assert not phantom_is_current(out, replace(arguments, seed=1))
    assert not phantom_is_current(out, replace(arguments, central=True))
    next(out.rglob("*.png")).unlink()
    assert not phantom_is_current(out, arguments)


def test_a_phantom_drawn_by_other_code_is_not_current(tmp_path: Path) -> None:
    out, arguments = tmp_path / "old", phantom_arguments(1, patients=4, image_size=32, central=False)
    write_phantom(out, arguments)
    manifest = json.loads((out / "phantom.json").read_text())
    (out / "phantom.json").write_text(json.dumps(manifest | {"drawing_sha256": "0"}))
    assert not phantom_is_current(out, arguments)


def test_only_an_untouched_phantom_is_overwritten_and_only_on_request(tmp_path: Path) -> None:
    out = tmp_path / "one"
    arguments = phantom_arguments(1, patients=4, image_size=32, central=False)
    write_phantom(out, arguments)
    with pytest.raises(FileExistsError, match="is not empty"):
        write_phantom(out, arguments)
    write_phantom(out, replace(arguments, seed=1), overwrite=True)
    assert phantom_is_current(out, replace(arguments, seed=1))
    (out / "north" / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_phantom(out, arguments, overwrite=True)
    assert (out / "north" / "thesis.txt").read_text() == "mine"


def test_a_folder_of_someone_else_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.png").write_bytes(b"x")
    with pytest.raises(FileExistsError, match="is not empty"):
        write_phantom(tmp_path, phantom_arguments(1, patients=4, image_size=32), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.png"]


def test_an_interrupted_drawing_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "out", phantom_arguments(1, patients=4, image_size=32), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_image_to_the_total(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    summary = write_phantom(
        tmp_path / "out",
        phantom_arguments(1, patients=4, image_size=32, central=False),
        progress=lambda *at: told.append(at),
    )
    assert told == [(number, summary.num_images) for number in range(1, summary.num_images + 1)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hospitals": 0}, "hospitals must be at least 1, got 0"),
        ({"hospitals": []}, "give at least one"),
        ({"hospitals": ["a", "A"]}, "repeated: A, a"),
        ({"hospitals": ["Central"]}, "no hospital may be called 'central'"),
        ({"hospitals": ["../x"]}, "begin with a dot"),
        ({"hospitals": ["a/b"]}, "must not begin with a dot, or hold"),
        ({"patients": 3}, "patients must be at least 4 a hospital, so that both modalities occur, got 3"),
        ({"image_size": 16}, "image_size must be between 32 and 1024 pixels, got 16"),
        ({"seed": -1}, r"seed must be in \[0, 2\*\*31\), got -1"),
    ],
)
def test_impossible_arguments_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phantom_arguments(**SMALL | change)


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_changes_the_picture_and_only_there(finding: str) -> None:
    rng = np.random.default_rng(1)
    chest = draw_chest(rng, female=False)
    pose = Pose(64, 64)
    healthy = draw_xray(chest, draw_pathology(np.random.default_rng(2), chest, ()), pose)
    ill = draw_xray(chest, draw_pathology(np.random.default_rng(2), chest, {finding}), pose)
    changed = np.abs(ill - healthy) > 0.03
    assert 0.002 < changed.mean() < 0.5


def test_one_finding_looks_the_same_whatever_else_is_present() -> None:
    chest = draw_chest(np.random.default_rng(1), female=True)
    alone = draw_pathology(np.random.default_rng(2), chest, {"Nodule"})
    together = draw_pathology(np.random.default_rng(2), chest, {"Nodule", "Cardiomegaly", "Effusion"})
    assert alone.nodules == together.nodules
    assert together.heart_scale > 1 == alone.heart_scale


def test_an_enlarged_heart_passes_half_the_width_of_the_lungs() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        chest = draw_chest(rng, female=False)
        healthy_ratio = chest.heart_radii[0] / chest.lung_half_width
        assert healthy_ratio < 0.5
        scale = draw_pathology(rng, chest, {"Cardiomegaly"}).heart_scale
        assert 1.13 <= scale <= 1.40


def test_ct_numbers_are_those_of_air_lung_and_bone() -> None:
    thorax = draw_thorax(np.random.default_rng(0))
    hu = draw_slice(thorax, None, Pose(128, 128), 0.5)
    assert hu[2, 2] == pytest.approx(-1000, abs=1)
    assert np.median(hu[50:75, 22:34]) == pytest.approx(thorax.lung_hu, abs=150)
    assert hu.max() > 300


@pytest.mark.parametrize("cancer_class", [name for name in CANCER_CLASSES if name != "normal"])
def test_a_tumour_replaces_lung_by_tissue_at_its_place(cancer_class: str) -> None:
    rng = np.random.default_rng(4)
    thorax = draw_thorax(rng)
    tumour = draw_tumour(rng, thorax, cancer_class)
    assert tumour is not None
    pose = Pose(128, 128)
    healthy, ill = draw_slice(thorax, None, pose, tumour.level), draw_slice(thorax, tumour, pose, tumour.level)
    grown = ill - healthy > 300
    assert grown.sum() > 20
    rows, columns = np.nonzero(grown)
    x, y = pose.pixels([tumour.centre])[0]
    reach = 2.6 * tumour.radius * pose.pixels_per_unit
    assert np.hypot(rows.mean() - y, columns.mean() - x) < reach


def test_squamous_cell_carcinomas_grow_nearer_to_the_middle_than_adenocarcinomas() -> None:
    def distance(cancer_class: str) -> float:
        found = []
        for seed in range(30):
            rng = np.random.default_rng(seed)
            tumour = draw_tumour(rng, draw_thorax(rng), cancer_class)
            assert tumour is not None
            found.append(np.hypot(*tumour.centre))
        return float(np.mean(found))

    assert distance("squamous.cell.carcinoma") < 0.7 * distance("adenocarcinoma")


def test_an_unknown_ct_class_is_refused_by_name() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no phantom for the CT class 'mesothelioma'"):
        draw_tumour(rng, draw_thorax(rng), "mesothelioma")


def test_a_cohort_has_the_prevalences_of_its_case_mix() -> None:
    patients = draw_cohort(np.random.default_rng(0), "x", 100, CENTRAL_MIX)
    xray = [p for p in patients if p.findings is not None]
    assert len(xray) == 85
    for finding, share in zip(FINDINGS, CENTRAL_MIX.prevalence, strict=True):
        assert sum(finding in (p.findings or ()) for p in xray) == round(share * 85)
    ct = [p.cancer_class for p in patients if p.cancer_class is not None]
    counts = [ct.count(name) for name in CANCER_CLASSES]
    assert counts == largest_remainder(65, CENTRAL_MIX.cancer)
    assert sum(p.findings is not None and p.cancer_class is not None for p in patients) == 50


@pytest.mark.parametrize(
    ("total", "shares", "expected"), [(10, [1, 1, 1], [4, 3, 3]), (7, [0.5, 0.5], [4, 3]), (0, [1, 2], [0, 0])]
)
def test_largest_remainders_sum_to_the_total(total: int, shares: list[float], expected: list[int]) -> None:
    assert largest_remainder(total, shares) == expected
