"""Phantom hospitals as unlike as one wants them."""

import csv
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fedthorax.simulations.phantom import Variety, phantom_arguments, phantom_is_current, write_phantom
from fedthorax.simulations.phantom.scanner import LOOKS
from fedthorax.simulations.phantom.variety import ASPECTS
from fedthorax.simulations.site_limits import SiteLimits


def test_the_usual_variety_is_the_machines_as_they_are() -> None:
    assert [Variety().look(index) for index in range(5)] == list(LOOKS)


def test_without_shift_all_machines_are_the_first() -> None:
    assert {Variety(shift=0.0).look(index) for index in range(5)} == {LOOKS[0]}


@pytest.mark.parametrize("aspect", list(ASPECTS))
def test_a_shift_in_one_aspect_leaves_the_others_alone(aspect: str) -> None:
    look, first = asdict(Variety(aspects=(aspect,)).look(1)), asdict(LOOKS[0])
    changed = {name for name in first if look[name] != first[name]}
    assert changed
    assert changed <= set(ASPECTS[aspect])


def test_a_shift_goes_as_far_as_it_says_and_no_further_than_can_be_drawn() -> None:
    assert Variety(shift=2.0).look(1).noise == pytest.approx(LOOKS[0].noise + 2 * (LOOKS[1].noise - LOOKS[0].noise))
    for index in range(5):
        look = Variety(shift=5.0).look(index)
        assert look.blur >= 0
        assert look.gamma >= 0.3
        assert look.window_hu[1] - look.window_hu[0] >= 200


def test_the_smaller_alpha_the_less_alike_the_case_mixes() -> None:
    def spread(alpha: float) -> float:
        mixes = Variety(alpha=alpha).mixes(8, seed=1)
        assert all(sum(mix.cancer) == pytest.approx(1) for mix in mixes)
        return max(mix.cancer[0] for mix in mixes) - min(mix.cancer[0] for mix in mixes)

    assert spread(0.1) > 0.5 > spread(100.0)


def test_a_hospital_lacks_what_it_is_to_lack(tmp_path: Path) -> None:
    limits = SiteLimits({"north": ("ct",), "east": ("xray",)}, {"south": ("Effusion",)})
    variety = Variety(limits=limits, size_alpha=1.0)
    arguments = phantom_arguments(patients=8, image_size=32, seed=1, variety=variety)
    summary = write_phantom(tmp_path / "data", arguments)
    north, south, east = (summary.sites[name] for name in ("north", "south", "east"))
    assert (north.ct_slices, east.xrays) == (0, 0)
    assert min(north.xrays, south.xrays, south.ct_slices, east.ct_slices) > 0
    assert sorted(path.name for path in (tmp_path / "data" / "north").iterdir()) == ["xray"]
    with (tmp_path / "data/south/xray/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["Nodule"] for row in rows} == {""}
    assert {row["Effusion"] for row in rows} - {""} == {"0", "1"}
    assert (tmp_path / "data" / "sites.png").is_file()
    assert phantom_is_current(tmp_path / "data", arguments)
    assert not phantom_is_current(tmp_path / "data", replace(arguments, variety=Variety()))
    readme = (tmp_path / "data" / "README.txt").read_text()
    assert "--size-alpha 1 --without north=ct --without east=xray --annotates south=Effusion" in readme


@pytest.mark.parametrize(
    ("variety", "words"),
    [
        (Variety(shift=-1.0), "shift must be between 0"),
        (Variety(aspects=("colour",)), "machines cannot differ in colour; expected some of contrast, noise"),
        (Variety(alpha=0.0), "alpha must be above 0"),
        (Variety(limits=SiteLimits({"west": ("ct",)})), "the hospitals are north, south, east"),
    ],
)
def test_what_cannot_be_drawn_is_refused(variety: Variety, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        phantom_arguments(patients=8, image_size=32, variety=variety)
