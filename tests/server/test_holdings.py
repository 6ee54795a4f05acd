from fedthorax.server.holdings import Holdings


def test_a_hospital_holds_what_it_has_answered_a_task_about():
    holdings = Holdings()
    assert holdings.held("north", {"fusion": "a"}) == ()
    holdings.took("north", {"fusion": "a", "ct.backbone": "b"})
    assert holdings.held("north", {"fusion": "a2", "ct.backbone": "b"}) == ("ct.backbone",)
    assert holdings.held("south", {"ct.backbone": "b"}) == ()


def test_of_a_segment_it_holds_the_two_versions_that_it_used_last():
    holdings = Holdings()
    for version in ("a", "b", "a", "c"):
        holdings.took("north", {"fusion": version})
    assert [bool(holdings.held("north", {"fusion": version})) for version in "abc"] == [True, False, True]


def test_they_go_through_a_checkpoint():
    holdings = Holdings()
    holdings.took("north", {"fusion": "a"})
    assert Holdings(holdings.by_site).held("north", {"fusion": "a"}) == ("fusion",)
