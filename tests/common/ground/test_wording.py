import pytest

from fedthorax.common.ground import wording


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.figure(0.64449), "0.644"),
        (wording.figure(None), wording.UNDEFINED),
        (wording.interval([0.6, 0.7]), "0.600 to 0.700"),
        (wording.beside(0.2514, 0.2512), ("0.251", "0.251")),  # reached
        (wording.beside(0.2512, 0.2514), ("0.2512", "0.2514")),
        (wording.beside(0.24999999, 0.25), ("0.24999999", "0.25000000")),
        (wording.beside(0.1, 0.25), ("0.100", "0.250")),
        (wording.count(1234), "1234"),
        (wording.count(1234567), "1\u202f234\u202f567"),
        (wording.counted(1, "pass", "passes"), "1 pass"),
        (wording.counted(2, "pass", "passes"), "2 passes"),
        (wording.seconds(9.26), "9.3 s"),
        (wording.seconds(125), "2 min 05 s"),
        (wording.seconds(7260), "2 h 01 min"),
        (wording.data_size(999), "999 B"),
        (wording.data_size(137_500_000), "137.5 MB"),
        (wording.data_size(2.5e12), "2500.0 GB"),
        (wording.moment("2025-03-04T10:00:00+01:00"), "2025-03-04 09:00 UTC"),
        (wording.moment("yesterday"), "yesterday"),
        (wording.joined([]), ""),
        (wording.joined(["A", "B", "C"]), "A, B and C"),
        (wording.joined(["A", "B", "C", "D"], limit=3), "A, B and 2 more"),
        (wording.round_ranges([3]), "round 3"),
        (wording.round_ranges([1, 2, 3, 7]), "rounds 1 to 3 and 7"),
        (wording.at({"a": {"b": 1}}, "a", "b"), 1),
        (wording.at({"a": None}, "a", "b"), None),
    ],
)
def test_numbers_and_lists_are_written_for_people(written, expected):
    assert written == expected
