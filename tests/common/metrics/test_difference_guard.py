import numpy as np
import pytest

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.suppression import safe_groups

POLICY = PrivacyConfig(smallest_count=3, round_to=1)


def safe(cells, *with_label, told=None):
    """``cells`` is a letter an image, each of a patient of its own; ``with_label`` are positions."""
    member = {name: np.array([cell == name for cell in cells]) for name in sorted(set(cells) - {"?"})}
    has = np.isin(np.arange(len(cells)), with_label)
    patients = np.array([f"p{row}" for row in range(len(cells))])
    return safe_groups(set(told or member), member, (has, ~has), patients, POLICY)


def test_groups_that_hold_all_images_may_be_told():
    assert safe("FFFFMMMM") == {"F", "M"}


@pytest.mark.parametrize("unknown", ["?", "??"])
def test_men_women_and_everyone_would_give_the_few_away_whose_sex_is_not_known_so_the_smaller_group_is_hidden(unknown):
    assert safe("FFFFFMMMM" + unknown) == {"F"}


def test_of_unknown_patients_enough_nothing_needs_hiding():
    assert safe("FFFFMMMM???") == {"F", "M"}


def test_a_group_that_is_hidden_for_its_own_sake_hides_the_smallest_other():
    assert safe("AAAAABBBBBBCC", told="AB") == {"B"}


def test_two_small_groups_protect_each_other():
    assert safe("AAAABBBBCCDD", told="AB") == {"A", "B"}


def test_groups_of_equally_few_go_together():
    assert safe("AAAABBBB?") == set()


def test_images_with_the_label_must_not_be_few_outside_either():
    cells = "FFFFFFFFFFMMMMMMMMM?????"
    assert safe(cells, 0, 1, 2, 3, 10, 11, 12) == {"F", "M"}
    assert safe(cells, 0, 1, 2, 3, 10, 11, 12, 19) == {"F"}


def test_several_images_of_a_patient_are_one():
    member = {"PA": np.array([1, 1, 1, 0, 0, 0], bool), "AP": np.zeros(6, bool)}
    patients = np.array(["a", "b", "c", "d", "d", "d"])
    assert safe_groups({"PA"}, member, (np.ones(6, bool),), patients, POLICY) == set()
