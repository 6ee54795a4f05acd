from fedthorax.server.held_segments import Holdings


def test_what_a_hospital_was_told_to_keep_is_not_forgotten_for_newer_versions():
    holdings = Holdings()
    holdings.took("north", {"fusion": "best"})
    for version in "abcd":
        holdings.went_on_holding("north", {"fusion": "best", "ct.backbone": "never sent"})
        holdings.took("north", {"fusion": version})
    assert holdings.holds("north", "fusion", "best")
    assert not holdings.holds("north", "fusion", "a")
    assert not holdings.holds("north", "ct.backbone", "never sent")


def test_a_hospital_holds_what_it_has_answered_a_task_about():
    holdings = Holdings()
    assert holdings.held("north", {"fusion": "a"}) == ()
    holdings.took("north", {"fusion": "a", "ct.backbone": "b"})
    assert holdings.held("north", {"fusion": "a2", "ct.backbone": "b"}) == ("ct.backbone",)
    assert holdings.held("south", {"ct.backbone": "b"}) == ()


def test_of_a_segment_it_holds_the_three_versions_that_it_used_last():
    holdings = Holdings()
    for version in ("a", "b", "c", "a", "d"):
        holdings.took("north", {"fusion": version})
    assert [bool(holdings.held("north", {"fusion": version})) for version in "abcd"] == [True, False, True, True]


def test_they_go_through_a_checkpoint():
    holdings = Holdings()
    holdings.took("north", {"fusion": "a"})
    assert Holdings(holdings.by_site).held("north", {"fusion": "a"}) == ("fusion",)
