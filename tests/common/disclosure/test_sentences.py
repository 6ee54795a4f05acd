"""The closed list of what may be said outside: its holes take a few words each, and it names what the product knows."""

import re
from typing import get_args

import pytest

from fedthorax.common.disclosure.sentences import _HOLES, ERRORS, INSIDE, SENTENCES, error_outside
from fedthorax.common.messages.message import TaskKind
from fedthorax.common.model.segments import SEGMENTS


def test_the_holes_of_the_sentences_are_the_words_of_the_product() -> None:
    assert _HOLES["task"] == get_args(TaskKind)
    assert _HOLES["segment"] == SEGMENTS


@pytest.mark.parametrize("sentence", ERRORS)
def test_each_error_leaves_with_any_of_its_words_and_with_no_others(sentence: str) -> None:
    words = {name: list(of) for name, of in _HOLES.items()} | {"setting": ["12", "1e-06", "0.5"]}
    holes = re.findall(r"\{(\w+)\}", sentence)
    for place in range(max((len(words[name]) for name in holes), default=1)):
        said = sentence.format(**{name: words[name][place % len(words[name])] for name in holes})
        assert error_outside(said) == said
        assert error_outside(f"{said} Smith") == error_outside(f"Smith {said}") == INSIDE
    for name in holes:
        odd = {hole: "Smith" if hole == name else words[hole][0] for hole in holes}
        assert error_outside(sentence.format(**odd)) == INSIDE


def test_every_hole_is_known() -> None:
    holes = {name for sentence in (*ERRORS, *SENTENCES) for name in re.findall(r"\{(\w+)\}", sentence)}
    assert holes == {*_HOLES, "count", "setting"}
