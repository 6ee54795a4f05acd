"""Nothing leaves without a rule: replies are built from their types, with a secret wherever a text can stand."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.allowed import Allowed, NoRuleError
from fedthorax.common.disclosure.gate import what_leaves
from fedthorax.common.disclosure.in_words import rules_in_words
from fedthorax.common.disclosure.rules import RULES
from fedthorax.common.disclosure.sentences import SENTENCES, UNSAID, is_sentence
from fedthorax.common.ground import leaving
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.leaving import Count, Figure, Name, Rule, Words, require_rules, rule_of
from fedthorax.common.messages.replies import RESULTS
from fedthorax.common.metrics.operating import LabelOperation

SECRET, SMALLEST = "Smith_John/7", 10
ALLOWED = Allowed(SMALLEST, PrivacyConfig(smallest_count=SMALLEST, round_to=1), names=frozenset({"Mass"}))
COUNTS = (leaving.Count, leaving.Shown, leaving.Weight)
BRIEFLY = settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.generate,),  # a reply has some hundred fields: to shrink one takes minutes and shows no more
    suppress_health_check=list(HealthCheck),
)
TOLD = [kind for kind in RESULTS.values() if kind.model_fields]


@pytest.mark.parametrize("kind", RESULTS.values(), ids=RESULTS)
def test_every_field_of_every_reply_has_a_rule(kind: type[Frozen]) -> None:
    require_rules(kind)


def test_every_rule_is_known_to_the_gate_and_said_in_words() -> None:
    structural = (*leaving.STRUCTURAL, leaving.Together)
    assert set(RULES) == set(Rule.__subclasses__()) - set(structural)
    assert all(how.words for how in RULES.values())


def test_every_field_is_told_in_words_with_this_hospitals_own_numbers() -> None:
    told = rules_in_words(ALLOWED)
    assert set(told) == set(RESULTS)
    for kind, results in RESULTS.items():
        places = {place for places in told[kind].values() for place in places}
        structural = (*leaving.STRUCTURAL, leaving.Together)
        assert places == {place for place, rule in leaving.rules_of(results) if not isinstance(rule, structural)}
    (few,) = [words for words, places in told["evaluate"].items() if "valid.disease.per_finding.support" in places]
    assert few == "from 10 on; below that, or where what is left of the whole is less: null (images)"


@pytest.mark.parametrize("kind", TOLD, ids=lambda kind: kind.__name__)
@given(data=st.data())
@BRIEFLY
def test_no_secret_and_no_small_count_leaves(kind: type[Frozen], data: st.DataObject) -> None:
    reply = _made(kind, None, data.draw)
    left = what_leaves(reply, ALLOWED)
    assert SECRET not in left.model_dump_json()
    assert all(value is None or value == 0 or value >= SMALLEST for value in _counts(left))


@given(data=st.data())
@BRIEFLY
def test_no_figure_of_few_images_leaves(data: st.DataObject) -> None:
    evaluated = _made(RESULTS["evaluate"], None, data.draw)
    for scores in (evaluated.test, evaluated.valid):
        if scores is not None:
            left = what_leaves(scores, ALLOWED)
            for name, row in scores.disease.per_finding.items():
                support, known = row.support, row.known
                if support is None or known is None or min(support, known - support) < SMALLEST:
                    told = left.disease.per_finding[name]
                    assert told.support is told.roc_auc is told.f1 is left.disease.micro.f1 is None
                    assert told.reasons["roc_auc"] == ALLOWED.few


class Row(Frozen):
    name: Annotated[str, Name()]
    auc: Annotated[float | None, Figure()]
    support: Annotated[int | None, Count()]
    reason: Annotated[str | None, Words()] = None


def test_a_loss_over_few_images_stays() -> None:
    class Trained(Frozen):
        loss: Annotated[float | None, leaving.Loss(("xray", "ct"))]
        cancer_loss: Annotated[float | None, leaving.Loss(("ct",))]

    class Around(Frozen):
        train: Trained
        xray: Annotated[int | None, leaving.Behind(alone=True)] = None
        ct: Annotated[int | None, leaving.Behind(alone=True)] = None

    losses = Trained(loss=1.0, cancer_loss=0.5)
    for xray, ct, left in (
        (10, 10, losses),
        (10, 0, losses),
        (10, 9, Trained(loss=None, cancer_loss=None)),
        (9, 10, Trained(loss=None, cancer_loss=0.5)),
        (None, None, Trained(loss=None, cancer_loss=None)),
    ):
        assert what_leaves(Around(train=losses, xray=xray, ct=ct), ALLOWED) == Around(train=left)


def test_a_loss_beside_scores_is_held_to_their_counts() -> None:
    class Beside(Frozen):
        rows: dict[Annotated[str, Name()], Row]
        loss: Annotated[float | None, leaving.Loss(("rows",))]

    def left(support: int) -> float | None:
        row = Row(name="Mass", auc=0.5, support=support)
        return what_leaves(
            Beside(rows={"Mass": row, "Row": Row(name="Mass", auc=0.5, support=1)}, loss=1.0), known
        ).loss

    known = replace(ALLOWED, names=frozenset({"Mass", "Row"}))
    assert (left(9), left(10)) == (None, 1.0)


def test_a_threshold_of_few_images_stops_the_reply_unless_it_is_the_common_one() -> None:
    label = LabelOperation(threshold=0.3, method="youden", source="images", positives=9, negatives=90)
    with pytest.raises(NoRuleError, match=r"LabelOperation\.threshold is not of the type that its rule is for"):
        what_leaves(label, ALLOWED)
    common = label.model_copy(update={"source": "common"})
    assert what_leaves(common, ALLOWED) == common.model_copy(update={"positives": None, "negatives": None})
    assert what_leaves(label.model_copy(update={"positives": 10}), ALLOWED).threshold == 0.3
    with pytest.raises(NoRuleError):
        what_leaves(label.model_copy(update={"positives": None}), ALLOWED)


def test_what_leaves_as_a_whole_holds_no_more_than_its_type() -> None:
    class Policy(Frozen):
        to: int = 5

    class Told(Frozen):
        policy: Annotated[Policy, leaving.Machine("rounding")]

    with pytest.raises(NoRuleError, match=r"^Told\.policy holds patient, which has no rule"):
        what_leaves(Told(policy=Policy().model_copy(update={"patient": SECRET})), ALLOWED)


def test_a_name_that_the_lead_does_not_know_stops_the_reply() -> None:
    with pytest.raises(NoRuleError, match=r"Row\.name holds a name") as error:
        what_leaves(Row(name=SECRET, auc=0.5, support=12), ALLOWED)
    assert SECRET not in str(error.value)


def test_a_sentence_that_is_not_on_the_list_is_replaced() -> None:
    row = Row(name="Mass", auc=None, support=12, reason=f"{SECRET} is cut off")
    assert what_leaves(row, ALLOWED).reason == UNSAID
    assert what_leaves(row.model_copy(update={"reason": "No label is known."}), ALLOWED).reason == "No label is known."
    assert not is_sentence("None of the known labels (9) is present.", SMALLEST)
    assert is_sentence("None of the known labels (10) is present.", SMALLEST)
    assert all(is_sentence(text.format(count=12, setting=5), SMALLEST) for text in SENTENCES)


def test_what_was_put_into_a_reply_behind_its_type_is_refused() -> None:
    row = Row(name="Mass", auc=0.5, support=12).model_copy(update={"patients": [SECRET]})
    with pytest.raises(NoRuleError, match="Row holds patients, which has no rule"):
        what_leaves(row, ALLOWED)
    row = Row(name="Mass", auc=0.5, support=12).model_copy(update={"auc": {"patient": SECRET}})
    with pytest.raises(NoRuleError) as error:
        what_leaves(row, ALLOWED)
    assert SECRET not in str(error.value)


def test_a_planted_figure_without_a_rule_is_refused_when_it_is_looked_at_and_when_it_leaves() -> None:
    class Planted(Row):
        auc_of_men: float

    with pytest.raises(TypeError, match=r"Planted\.auc_of_men \(float\) has no rule"):
        require_rules(Planted)
    with pytest.raises(TypeError, match=r"Planted\.auc_of_men \(float\) has no rule"):
        what_leaves(Planted(name="Mass", auc=0.5, support=12, auc_of_men=0.1), ALLOWED)


def test_a_scanner_is_named_where_its_count_is() -> None:
    class Table(Frozen):
        cells: dict[Annotated[str, leaving.SharedName()], Annotated[int | None, leaving.Shown(alone=True)]]

    left = what_leaves(Table(cells={"Acme 1": 12, "Rare 2": None, "Odd 3": 4, "Mass": None}), ALLOWED)
    assert left.cells == {"Acme 1": 12, "other": None, "Mass": None}


def _made(kind: Any, rule: Rule | None, draw: Any) -> Any:
    """A value of the type: known names where names must be known, else the secret; counts of 0 to twice the limit."""
    length = 1
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        rule = rule_of(tuple(more)) or rule
        bounds = [bound for one in more for bound in getattr(one, "metadata", ())]
        length = next((bound.min_length for bound in bounds if hasattr(bound, "min_length")), 1)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if kind is PrivacyConfig:
            return PrivacyConfig(smallest_count=SMALLEST, round_to=1)
        fields = kind.model_fields.items()
        values = {name: _made(info.annotation, rule_of(tuple(info.metadata)) or rule, draw) for name, info in fields}
        if {"edges", "present"} <= set(values):
            counts = draw(st.tuples(*[st.integers(0, 2 * SMALLEST)] * 4))
            values = {"bins": 2, "edges": (0, 1, 2), "present": counts[:2], "absent": counts[2:]}
        return kind.model_construct(_fields_set=set(values), **values)
    if get_origin(kind) in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not NoneType]
        optional = len(parts) < len(get_args(kind)) and _rests_on(rule) is False and draw(st.integers(0, 4)) == 0
        return None if optional else _made(parts[0], rule, draw)
    origin = get_origin(kind)
    if origin is Literal:
        return draw(st.sampled_from(get_args(kind)))
    if origin is tuple:
        parts = get_args(kind)
        return tuple(_made(part, rule, draw) for part in (parts[:1] * length if parts[-1] is Ellipsis else parts))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = get_args(kind)
        key_rule = rule if not isinstance(rule, Words) else Name()
        return {_made(key, key_rule, draw): _made(value, rule, draw)}
    if kind is str:
        if isinstance(rule, leaving.Identifier | leaving.Sealed):
            return "0a" * 16
        return "Mass" if isinstance(rule, Name) else SECRET
    if kind is bool:
        return draw(st.booleans())
    if kind is int and _rests_on(rule):
        return 2 * SMALLEST
    if kind is int:
        return draw(st.integers(0, 2 * SMALLEST))
    assert kind is float, kind
    return 0.5


def _rests_on(rule: Rule | None) -> bool:
    """Whether a figure that cannot be null rests on the count."""
    return isinstance(rule, leaving.Behind) and not rule.alone


def _counts(value: Any) -> Iterator[int | None]:
    """Every count in what left; bins are counts too."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield from _counts_of(getattr(value, name), info.annotation, rule_of(tuple(info.metadata)))


def _counts_of(value: Any, kind: Any, rule: Rule | None) -> Iterator[int | None]:
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        rule = rule_of(tuple(more)) or rule
    if isinstance(value, BaseModel):
        yield from _counts(value)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _counts_of(one, get_args(kind)[-1] if get_args(kind) else None, rule)
    elif isinstance(value, tuple):
        for one in value:
            yield from _counts_of(one, get_args(kind)[0] if get_args(kind) else None, rule)
    elif get_origin(kind) in (Union, UnionType) and value is not None:
        yield from _counts_of(value, next(part for part in get_args(kind) if part is not NoneType), rule)
    elif isinstance(rule, COUNTS) and type(value) is int:
        yield value
