"""What the thresholds of `fedthorax check` cost on real images: false alarms, and what is found of what was made wrong.

    python benchmarks/check_calibration.py ../shared/data

Every X-ray of each set is taken as it is, turned by 90, 180 and 270 degrees, inverted, with a line of writing, wiped to
a single grey with faint noise, and tinted as a telephone sees a light box; 48 cuts of the three colour photographs that
matplotlib and scikit-learn carry stand for what is no radiograph at all. The sets are as published, so an alarm on an
untouched image is counted as false although a few are right. Cuts take 30 or 50 % off one side of every fifth X-ray and
stretch the rest to the old shape. Copies are every tenth image in another size, format, brightness or gamma. Prints the
tables of docs/check.md, and the 8 x 8 pattern of common/check/facts.py computed again from nih-224.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedthorax.common.check.facts import ImageFacts, coloured, facts_of, grey_quantiles
from fedthorax.common.check.flags import flags_of
from fedthorax.common.check.neighbours import odd_among
from fedthorax.common.check.suspects import suspect_codes
from fedthorax.common.config.data import CT_WINDOWS
from fedthorax.common.pixels.decode import Modality, decode_image
from fedthorax.common.pixels.dicom_pixels import open_dicom_units
from fedthorax.common.pixels.hounsfield import windowed
from fedthorax.common.pixels.perceptual_hash import HASH_BYTES, MAX_BITS, SIDE, as_rows, near_pairs
from fedthorax.common.records.listing import list_images

XRAYS = ("nih-224", "nih-1024", "hannover-224")
CT = "ct-kaggle"
DICOM: dict[str, Modality] = {"cr_chest": "xray", "ct_chest_nysbu": "ct", "ct_misc": "ct"}
MORE = ("nih-224-more", "rsna-224", "kermany-224", "nih-128", "lidc-ct-128", "dicom/ct_chest_nysbu")
ALL_SETS = (*XRAYS, CT, *MORE)
TEXT = "DOE JOHN 1950-01-01 ID 12345"

Picture = np.ndarray


def load(folder: Path) -> dict[str, Picture]:
    return {name: decode_image(path) for name, path in list_images(folder).images.items()}


def described(picture: Picture, content: bytes = b"\x89PNG\r\n\x1a\n") -> ImageFacts:
    return facts_of(np.ascontiguousarray(picture), content)


def written(picture: Picture) -> Picture:
    image = Image.fromarray(picture)
    font = ImageFont.load_default(image.width // 16)
    ImageDraw.Draw(image).text((image.width * 0.05, image.height * 0.05), TEXT, fill=(255, 255, 255), font=font)
    return np.asarray(image)


def blank(picture: Picture, grey: int) -> Picture:
    """One grey with noise of one level, as an unexposed detector or an empty page gives."""
    noise = np.random.default_rng(grey).normal(0, 1, picture.shape[:2])
    return np.repeat(np.clip(np.rint(grey + noise), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def tinted(picture: Picture, gains: tuple[float, float, float]) -> Picture:
    """Seen in coloured light: each channel is multiplied."""
    return np.clip(picture * np.array(gains), 0, 255).astype(np.uint8)


def photographs() -> list[Picture]:
    """Cuts of 224 x 224 from real colour photographs."""
    from matplotlib import cbook
    from sklearn.datasets import load_sample_images

    with cbook.get_sample_data("grace_hopper.jpg") as file:
        whole = [*load_sample_images().images, np.asarray(Image.open(file).convert("RGB"))]
    rng, cuts = np.random.default_rng(0), []
    for picture in whole:
        for _ in range(16):
            side = int(rng.integers(224, min(picture.shape[:2])))
            top, left = (int(rng.integers(0, length - side + 1)) for length in picture.shape[:2])
            cut_out = Image.fromarray(picture[top : top + side, left : left + side])
            cuts.append(np.asarray(cut_out.resize((224, 224), Image.Resampling.BILINEAR)))
    return cuts


def copies(picture: Picture) -> Iterator[tuple[str, Picture]]:
    image = Image.fromarray(picture)
    for scale in (0.5, 2.0):
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        yield f"{scale:g} times the size", np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    for quality in (30, 60, 90):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        yield f"JPEG quality {quality}", np.asarray(Image.open(stream))
    greys = picture.astype(np.float64)
    yield "gamma 0.8", (255 * (greys / 255) ** 0.8).astype(np.uint8)
    yield "brighter by 15 %", np.clip(greys * 1.15 + 8, 0, 255).astype(np.uint8)
    edge = max(2, round(0.02 * min(picture.shape[:2])))
    yield "2 % cut off all around", picture[edge:-edge, edge:-edge]


def pairs(facts: list[ImageFacts]) -> np.ndarray:
    return near_pairs(
        as_rows([fact.hash for fact in facts], HASH_BYTES), as_rows([fact.signature for fact in facts], SIDE * SIDE)
    )


def bits_apart(facts: list[ImageFacts]) -> np.ndarray:
    """Different bits of every pair, in one flat array."""
    bits = np.unpackbits(as_rows([fact.hash for fact in facts], HASH_BYTES), axis=1).astype(np.int32)
    apart = bits @ (1 - bits).T + (1 - bits) @ bits.T
    return apart[np.triu_indices(len(facts), 1)]


def orientation_table(sets: dict[str, dict[str, Picture]]) -> None:
    changes = {
        "sideways": [lambda p, k=k: np.rot90(p, k) for k in (1, 2, 3)],
        "inverted": [lambda p: 255 - p],
        "annotated": [written],
        "single-colour": [lambda p, g=g: blank(p, g) for g in (0, 60, 128, 255)],
        "colour-photo": [lambda p, g=g: tinted(p, g) for g in ((1.0, 0.9, 0.7), (0.8, 0.95, 1.0))],
    }
    print("| set | code | false alarms, untouched | found, made wrong |\n|---|---|---|---|")
    for name, pictures in sets.items():
        modality = "ct" if name == CT else "xray"
        untouched = [suspect_codes(described(picture), modality) for picture in pictures.values()]
        for code, makers in changes.items():
            if modality == "ct" and code == "sideways":
                continue
            false = sum(code in codes for codes in untouched)
            wrong = [code in suspect_codes(described(make(p)), modality) for p in pictures.values() for make in makers]
            print(f"| {name} | `{code}` | {false} of {len(pictures)} | {np.mean(wrong):.1%} of {len(wrong)} |")
        for code in ("framing",):
            if alarms := sum(code in codes for codes in untouched):
                print(f"| {name} | `{code}` | {alarms} of {len(pictures)} | |")


def neighbour_table(data: Path) -> None:
    """Every picture of every set is made wrong once, a tenth of the set at a time, among the others untouched."""
    faults = {
        "16 times too dark": lambda grey: grey // 16,
        "an eighth of the contrast": lambda grey: np.rint(128 + (grey - 128.0) / 8),
        "one grey": lambda grey: grey * 0 + 90,
        "inverted": lambda grey: 255 - grey,
    }
    print(f"\n| set | false alarms, untouched | {' | '.join(faults)} | raw CT values |\n|---|---|{'---|' * 5}")
    for name in ALL_SETS:
        images = list_images(data / name).images
        pictures = [decode_image(path) for path in images.values()]
        folders: dict[str, list[int]] = {"": list(range(len(pictures)))}
        for row, file in enumerate(images):
            folders.setdefault(f"./{Path(file).parent}", []).append(row)
        groups = [rows for rows in folders.values() if len(rows) >= 20]
        plain = np.stack([greys_of(picture) for picture in pictures])
        rates = []
        for make in faults.values():
            rates.append(found_of(plain, np.stack([greys_of(make(picture)) for picture in pictures]), groups))
        raw = ""
        if name.startswith("dicom"):
            units = [open_dicom_units(path.read_bytes())(0) for path in images.values()]
            wrong = np.stack([greys_of(windowed(each + np.int32(1024), CT_WINDOWS)) for each in units])
            raw = found_of(plain, wrong, groups)
        false = int(odd_among(plain, groups).sum())
        print(f"| {name} | {false} of {len(plain):,} | {' | '.join(rates)} | {raw} |", flush=True)


def greys_of(picture: Picture) -> np.ndarray:
    grey = Image.fromarray(np.asarray(picture).astype(np.uint8)).convert("L")
    return grey_quantiles(np.cumsum(grey.histogram())).astype(np.float64)


def found_of(plain: np.ndarray, wrong: np.ndarray, groups: list[list[int]]) -> str:
    hits = 0
    for start in range(10):
        rows = slice(start, None, 10)
        mixed = plain.copy()
        mixed[rows] = wrong[rows]
        hits += int(odd_among(mixed, groups)[rows].sum())
    return f"{hits / len(plain):.1%}"


def tint_table(sets: dict[str, dict[str, Picture]]) -> None:
    """How far published pictures are from the share at which one counts as tinted."""
    print("\n| set, untouched | largest share of tinted pixels |\n|---|---|")
    for name, pictures in sets.items():
        print(f"| {name} | {max(coloured(np.ascontiguousarray(picture))[1] for picture in pictures.values()):.2%} |")


def dicom_table(data: Path) -> None:
    """DICOM files as published, among them abdominal and coronal slices, as `fedthorax predict` reads them."""
    print("\n| DICOM set, untouched | files | flagged |\n|---|---|---|")
    for name, modality in DICOM.items():
        files = list(list_images(data / "dicom" / name).images.values())
        told: dict[str, int] = {}
        unread = 0
        for file in files:
            try:
                flags = flags_of(file, modality)
            except ValueError:
                unread += 1
                continue
            for code in flags:
                told[code] = told.get(code, 0) + 1
        words = [f"`{code}` {number}" for code, number in sorted(told.items())]
        words += [f"{unread} refused"] if unread else []
        print(f"| {name} ({modality}) | {len(files)} | {', '.join(words) or 'none'} |")


def photograph_table() -> None:
    print("\n| 48 cuts of colour photographs, given as | flagged `colour-photo` | flagged at all |\n|---|---|---|")
    for modality in ("xray", "ct"):
        found = [suspect_codes(described(picture), modality) for picture in photographs()]
        coloured, any_flag = sum("colour-photo" in codes for codes in found), sum(map(bool, found))
        print(f"| {modality} | {coloured} of {len(found)} | {any_flag} of {len(found)} |")


def cut(picture: Picture, share: float, turns: int) -> Picture:
    """Without ``share`` of one side, stretched to the old shape; ``turns`` quarter turns choose the side."""
    turned = np.rot90(picture, turns)
    rest = np.rot90(turned[round(share * len(turned)) :], -turns)
    return np.asarray(Image.fromarray(rest).resize(picture.shape[1::-1], Image.Resampling.BILINEAR))


def cut_table(sets: dict[str, dict[str, Picture]]) -> None:
    sides = ("top", "right", "bottom", "left")
    print(f"\n| set | cut off | {' | '.join(sides)} |\n|---|---|{'---|' * len(sides)}")
    for name in (name for name in sets if name != CT):
        some = list(sets[name].values())[::5]
        for share in (0.3, 0.5):
            found = [
                np.mean(["framing" in suspect_codes(described(cut(picture, share, turns)), "xray") for picture in some])
                for turns in range(len(sides))
            ]
            print(f"| {name} | {share:.0%} of {len(some)} | {' | '.join(f'{each:.0%}' for each in found)} |")


def copy_table(sets: dict[str, dict[str, Picture]]) -> None:
    print("\n| set | pairs of untouched images | called near copies | least bits apart |\n|---|---|---|---|")
    facts = {name: [described(picture) for picture in pictures.values()] for name, pictures in sets.items()}
    for name in XRAYS:
        number = len(facts[name]) * (len(facts[name]) - 1) // 2
        print(f"| {name} | {number:,} | {len(pairs(facts[name]))} | {bits_apart(facts[name]).min()} |")
    print(f"\nBits apart up to which a pair is looked at closely: {MAX_BITS}.")
    print("\n| copy | found | most bits apart |\n|---|---|---|")
    found: dict[str, list[bool]] = {}
    apart: dict[str, list[int]] = {}
    for pictures in sets.values():
        for picture in list(pictures.values())[::10]:
            original = described(picture)
            for kind, copy in copies(picture):
                both = [original, described(copy)]
                found.setdefault(kind, []).append(len(pairs(both)) == 1)
                apart.setdefault(kind, []).append(int(bits_apart(both)[0]))
    for kind, hits in found.items():
        print(f"| {kind} | {np.mean(hits):.1%} of {len(hits)} | {max(apart[kind])} |")
    small = {Path(name).stem: fact for name, fact in zip(sets["nih-224"], facts["nih-224"], strict=True)}
    both = [
        len(pairs([small[Path(name).stem], fact]))
        for name, fact in zip(sets["nih-1024"], facts["nih-1024"], strict=True)
        if Path(name).stem in small
    ]
    print(f"| the same radiograph in nih-1024 and nih-224 | {np.mean(both):.1%} of {len(both)} | |")


def pattern(pictures: dict[str, Picture]) -> np.ndarray:
    means = []
    for picture in pictures.values():
        small = np.asarray(Image.fromarray(picture).convert("L").resize((8, 8), Image.Resampling.BILINEAR), np.float64)
        small -= small.mean()
        means.append(small / np.linalg.norm(small))
    mean = np.mean(means, axis=0)
    mean = mean + mean[:, ::-1]
    return np.rint(100 * mean / np.linalg.norm(mean)).astype(int)[:, :4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with nih-224, nih-1024, hannover-224 and ct-kaggle")
    parser.add_argument("--neighbours", action="store_true", help="only the table of neighbours, of all sets")
    parser.add_argument("--sets", nargs="*", default=[*XRAYS, CT], help="only these, without the table of copies")
    options = parser.parse_args()
    neighbour_table(options.data)
    if options.neighbours:
        return
    sets = {name: load(options.data / name) for name in options.sets}
    orientation_table(sets)
    photograph_table()
    tint_table(sets)
    dicom_table(options.data)
    cut_table(sets)
    if len(sets) <= len(XRAYS):
        return
    copy_table(sets)
    print(f"\nPattern of an upright frontal chest, left half:\n{pattern(sets['nih-224'])}")


if __name__ == "__main__":
    main()
