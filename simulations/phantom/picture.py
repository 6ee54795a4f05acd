"""One picture of one phantom patient: anatomy from the patient's seed, pose and exposure from the picture's own."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fedthorax.common.ground.seeds import derive_seed
from fedthorax.simulations.phantom.canvas import Pose
from fedthorax.simulations.phantom.chest import FINDINGS, Chest, draw_chest, draw_pathology
from fedthorax.simulations.phantom.cohort import Patient
from fedthorax.simulations.phantom.ct import draw_slice
from fedthorax.simulations.phantom.scanner import Look, ct_size, expose_xray, to_image, window_ct, xray_size
from fedthorax.simulations.phantom.thorax import draw_thorax, draw_tumour
from fedthorax.simulations.phantom.xray import draw_xray

# Between two X-rays of a patient a finding may have resolved.
_RESOLVED = 0.08
_PORTABLE = 0.3


@dataclass(frozen=True)
class XrayPlan:
    """What an X-ray shows, known before it is drawn."""

    patient: Patient
    number: int
    view: str
    present: frozenset[str]

    @property
    def stem(self) -> str:
        return f"{self.patient.identifier}_{self.number:02d}"


def plan_xrays(seed: int, patient: Patient) -> list[XrayPlan]:
    """The X-rays of a patient: the first shows all findings, a later one may have lost some."""
    plans = []
    for number in range(1, patient.num_xrays + 1):
        rng = _stream(seed, patient, "plan", number)
        view = "AP" if rng.random() < _PORTABLE else "PA"
        stays = rng.random(len(FINDINGS)) >= _RESOLVED
        present = frozenset(
            name
            for name, keep in zip(FINDINGS, stays, strict=True)
            if name in (patient.findings or ()) and (number == 1 or keep)
        )
        plans.append(XrayPlan(patient, number, view, present))
    return plans


def save_xray(path: Path, seed: int, plan: XrayPlan, look: Look, image_size: int) -> None:
    anatomy = _stream(seed, plan.patient, "chest", 0)
    chest = draw_chest(anatomy, plan.patient.female)
    pathology = draw_pathology(anatomy, chest, plan.present)
    rng = _stream(seed, plan.patient, "xray", plan.number)
    portable = plan.view == "AP"
    if portable:
        chest = _bedside(chest)
    height, width = xray_size(look, image_size)
    pose = Pose(
        height,
        width,
        rotation_degrees=rng.normal(0, 2.0),
        zoom=rng.normal(1.12, 0.03),
        shift=(rng.normal(0, 0.02), rng.normal(0.03, 0.025)),
    )
    image = to_image(
        expose_xray(rng, look, draw_xray(chest, pathology, pose), portable), 16 if look.xray_format == "png16" else 8
    )
    if look.xray_format == "jpg":
        image.save(path, quality=90)
    else:
        image.save(path, compress_level=4)


def xray_suffix(look: Look) -> str:
    return "jpg" if look.xray_format == "jpg" else "png"


def save_slice(path: Path, seed: int, patient: Patient, number: int, look: Look, image_size: int) -> None:
    """Slice ``number`` of the patient, counted from 1; a tumour patient's slices all cut the tumour."""
    anatomy = _stream(seed, patient, "thorax", 0)
    thorax = draw_thorax(anatomy)
    tumour = draw_tumour(anatomy, thorax, patient.cancer_class or "normal")
    centre = tumour.level if tumour is not None else anatomy.uniform(0.25, 0.75)
    rng = _stream(seed, patient, "ct", number)
    offset = 0.09 * (number - (patient.num_slices + 1) / 2)
    height, width = ct_size(look, image_size)
    pose = Pose(
        height,
        width,
        rotation_degrees=rng.normal(0, 1.2),
        zoom=rng.normal(1.08, 0.03),
        shift=(rng.normal(0, 0.015), rng.normal(-0.02, 0.015)),
    )
    hu = draw_slice(thorax, tumour, pose, float(np.clip(centre + offset, 0, 1)))
    to_image(window_ct(rng, look, hu)).save(path, compress_level=4)


def _stream(seed: int, patient: Patient, *keys: str | int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, "phantom", patient.identifier, *keys))


def _bedside(chest: Chest) -> Chest:
    """At the bedside the tube is near and in front: the heart looks larger; and the patient breathes in less."""
    return replace(
        chest,
        heart_radii=(chest.heart_radii[0] * 1.07, chest.heart_radii[1] * 1.05),
        dome={side: height - 0.06 for side, height in chest.dome.items()},
    )
