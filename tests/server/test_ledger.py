import pytest

from fedthorax.common.messages.message import Reply, Task
from fedthorax.server.ledger import Ledger


def task(number: int, told: tuple[str, ...] = ()) -> Task:
    return Task(kind="train", site="north", round=number, acknowledged=told)


def reply(number: int, head: str = "", error: str | None = None) -> Reply:
    return Reply(kind="train", site="north", round=number, egress_head=head, error=error)


def test_a_hospital_hears_that_its_reply_has_arrived_only_after_the_checkpoint():
    ledger = Ledger()
    first = task(1)
    ledger.arrived(first, reply(1))
    assert ledger.told("north") == ()
    ledger.settle()
    assert ledger.told("north") == (first.id,)
    ledger.settle()
    assert ledger.told("north") == (first.id,)


def test_what_a_hospital_has_heard_is_not_told_again():
    ledger = Ledger({"north": ["a", "b"]})
    second = task(2, told=("a", "b"))
    ledger.arrived(second, reply(2))
    ledger.settle()
    assert ledger.told("north") == (second.id,)
    assert ledger.told("south") == ()


def test_heads_that_move_on_are_kept():
    ledger = Ledger()
    for number, head in enumerate(("h1", "h2", "h3"), start=1):
        ledger.arrived(task(number), reply(number, head))
    assert ledger.egress_heads == {"north": ["h1", "h2", "h3"]}
    assert ledger.newest_head("north") == "h3"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("h3", "its head has not moved"),
        ("h1", "gone back to an earlier head: 2 replies or more were cut off"),
        ("", "has no head any more"),
    ],
)
def test_a_log_that_goes_back_or_stands_still_is_seen(head, words):
    ledger = Ledger({}, {"north": ["h1", "h2", "h3"]})
    with pytest.raises(ValueError, match=words):
        ledger.arrived(task(4), reply(4, head))


def test_an_error_without_a_head_says_nothing_about_the_log():
    ledger = Ledger({}, {"north": ["h1"]})
    ledger.arrived(task(2), reply(2, "", error="no reply by the deadline"))
    assert ledger.newest_head("north") == "h1"


def test_a_simulated_hospital_has_no_log():
    ledger = Ledger()
    for number in (1, 2):
        ledger.arrived(task(number), reply(number))
    assert ledger.newest_head("north") == ""
