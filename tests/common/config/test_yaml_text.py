"""YAML scalars as a person means them."""

from typing import Any

import pytest

from fedthorax.common.config.yaml_text import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("17", 17),
        ("-0", 0),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("true", True),
        ("~", None),
        ("", None),
        ("e5", "e5"),
        ("1e", "1e"),
        (".", "."),
    ],
)
def test_a_plain_scalar_is_what_a_person_means(text: str, value: Any) -> None:
    read = read_yaml(text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("value", ["3e-4", "no", "1:30", "2024-01-31", "null", "~", "007", "true", "", "a: b", "é"])
def test_text_that_looks_like_something_else_survives_writing_and_reading(value: str) -> None:
    assert read_yaml(write_yaml({"key": [value]})) == {"key": [value]}


def test_a_repeated_key_is_refused_wherever_it_stands() -> None:
    with pytest.raises(ValueError, match=r"^line 4: the key `b` was already given on line 2; keep one$"):
        read_yaml("a:\n  b: 1\n  c: 2\n  b: 3\n")
    with pytest.raises(ValueError, match="the key `b` was already given on line 1"):
        read_yaml("{b: 1, b: 2}")


def test_merge_keys_are_no_repetition() -> None:
    assert read_yaml("a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b}\n")["c"] == {"x": 2, "y": 1}


def test_a_tag_that_would_make_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1, column 1: not valid YAML: could not determine a constructor"):
        read_yaml("!!python/object/apply:os.system [true]")


def test_bytes_that_are_no_text_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="not valid YAML") as refused:
        read_yaml(b"name: \xff\xfe\x00")
    assert "\n" not in str(refused.value)
