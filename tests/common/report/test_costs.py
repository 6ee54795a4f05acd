from fedthorax.common.record.run import read_run
from fedthorax.common.report.costs import cost_rows, costs_section, summary


def test_training_is_added_up_hospital_by_hospital(metrics):
    rows = {row["name"]: row["cells"] for row in cost_rows(read_run(metrics))}
    assert [words for _, words in rows["St. Anna"]] == ["10", "3000", "190", "1 min 50 s", "11.0 s"]
    assert rows["University Hospital South"][0] == (9, "9"), "it failed in one round"


def test_time_traffic_and_memory_are_told_in_sentences(metrics):
    assert summary(read_run(metrics)) == (
        "The run took 49 min 30 s, a round 47.0 s on average. The server sent 1.5 GB and received 1.5 GB, 301.0 MB a "
        "round both ways. The server's process took at most 2.2 GB of memory. A hospital's process took at most 3.2 GB."
    )


def test_what_was_not_measured_is_not_guessed(metrics, begun):
    assert "Energy was not measured, and no estimate is made" in costs_section(read_run(metrics))
    nothing = read_run(begun)
    assert cost_rows(nothing) == []
    assert summary(nothing).startswith("The run took \N{EN DASH}")
