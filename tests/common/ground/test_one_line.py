"""Nothing that a hospital writes moves a cursor, breaks a line, or shows other words than it holds."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fedthorax.common.ground.fields import one_line


def test_what_is_ordinary_writing_stays_as_it_is() -> None:
    for text in ("Pleural  Thickening", "St. Änna's (2)", "肺", "3 ± 1 µm", ""):
        assert one_line(text) == text


def test_control_characters_line_breaks_and_the_turning_of_writing_go() -> None:
    assert one_line("a\x1b[2Jb\r\nc\x00d\x85e\u2028f\u2029g") == "a [2Jb  c d e f g"
    assert one_line("a\u202eb\u2066c\u200bd\ufeffe") == "abcde"
    assert one_line("a\ud800b") == "a b"


def test_a_long_text_is_cut_and_says_so() -> None:
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


@given(st.text(max_size=50), st.integers(1, 20))
def test_whatever_comes_the_result_is_short_and_shows_what_it_holds(text: str, most: int) -> None:
    shown = one_line(text, most)
    assert len(shown) <= most
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)
