"""The main path of a real consortium: a lead and two hospitals in folders of their own, every process a real one, TLS
and node authentication on. That its bits are those of the simulation is a row of test_same_bits.py."""

import json
import re

import pytest

from fedthorax.common.record.run import read_run
from fedthorax.server.tracking.tracking import figures

from ..attacks.test_files_on_disk import reached_by_another_user
from .conftest import HOSPITALS, Ended

pytestmark = pytest.mark.ci


@pytest.fixture
def ended(led) -> Ended:
    return led


def test_a_hospital_that_is_in_order_is_told_so(ended):
    assert "north is ready" in ended.check
    assert "PROBLEM" not in ended.check


def test_the_hospitals_tell_their_numbers_without_a_run_and_small_counts_stay_with_them(ended):
    told = ended.statistics
    assert list(told["sites"]) == list(HOSPITALS)
    assert told["failures"] == []
    assert told["policy"] == {"smallest_count": 5, "round_to": 5}
    for statistics in told["sites"].values():
        counts = [count for table in statistics["findings"].values() for count in table["cells"].values()]
        assert None in counts
        assert all(count % 5 == 0 for count in counts if count is not None)
        assert statistics["xray"]["intensity"] is not None
    (kept,) = (ended.place.folder / "statistics").iterdir()
    assert json.loads(kept.read_text())["statistics"] == told
    assert "What the hospitals hold" in ended.page


def test_a_query_for_numbers_is_in_everybodys_log_and_is_no_run(ended):
    events = [json.loads(line)["event"] for line in (ended.place.folder / "audit.jsonl").read_text().splitlines()]
    assert events.count("statistics_asked") == events.count("statistics_gathered") == 1
    for name in HOSPITALS:
        log = ended.place.command("site", "log", "--folder", str(ended.place.site(name)))
        assert "round 0 statistics" in log
    listed = (ended.place.folder / "submissions.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in listed] == ["tiny"]


def test_another_user_of_the_machine_reaches_nothing_of_the_lead_or_a_hospital(ended):
    above = [path for path in ended.place.place.parents if path.stat().st_mode & 0o077 == 0]
    for path in above:
        path.chmod(0o711)  # pytest's own folders are closed, and every look into them would be vain
    try:
        for folder in (ended.place.folder, *(ended.place.site(name) for name in HOSPITALS)):
            assert reached_by_another_user(folder) == []
    finally:
        for path in above:
            path.chmod(0o700)


def test_every_hospital_holds_the_heads_of_both_logs_of_the_lead(ended):
    for name in HOSPITALS:
        for log in (ended.place.folder / "audit.jsonl", ended.place.run_folder("tiny") / "audit.jsonl"):
            checked = ended.place.command(
                "site", "log", "--server-audit", str(log), "--folder", str(ended.place.site(name))
            )
            assert "the chain is whole" in checked


def test_the_lead_sees_every_hospital_work_and_where_the_report_is(ended):
    for name in HOSPITALS:
        assert f"round 1/3: {name} working since" in ended.follow
        assert f"round 1/3: {name} replied" in ended.follow
    assert "failed" not in ended.follow
    assert ended.follow.rstrip().endswith("lead/runs/tiny/report.html")


def test_who_waits_for_a_person_is_told_at_both_ends_until_somebody_agrees(ended):
    asked = ended.asked
    assert re.search(r"^round 0/3: north waits since \d\d:\d\d for a person there to agree$", asked.lead, flags=re.M)
    assert "north replied" not in asked.lead
    assert "note: the run tiny waits for a person: fedthorax site approve tiny" in asked.hospital
    told = [line for line in asked.status.splitlines() if "fedthorax site approve tiny" in line]
    assert [line.strip().partition(", asked ")[0] for line in told] == [
        "a person there has yet to agree to the run tiny"
    ]
    assert re.fullmatch(r"tiny  [0-9a-f]{32}\n", asked.listed)
    assert asked.approved.startswith("run tiny, with north, south\n")
    assert asked.approved.endswith("approved\n")
    assert asked.said.count("waits since") == 1  # agreed once, for all rounds
    assert "note: the run tiny goes on: a person has agreed" in ended.place.told("north.txt")
    assert "waits for a person" not in ended.place.told("south.txt")


def test_flowers_own_commands_see_the_run_and_the_hospitals(ended):
    number = ended.follow.split("submitted tiny as ")[1].split()[0]
    runs, nodes, log = ended.flower.values()
    assert number in runs
    assert "finished:completed" in runs
    assert nodes.count("online") == len(HOSPITALS)
    assert "finished: " in log
    assert "report.html" in log


def test_subgroups_are_those_of_the_simulation_with_counts_rounded(ended, workplace, simulated):
    for name in HOSPITALS:
        there = ended.place.metrics("tiny")["sites"][name]["subgroups"]
        here = workplace.metrics("tiny")["sites"][name]["subgroups"]
        assert list(there["disease"]) == list(here["disease"]) == ["sex", "age_years", "view"]
        assert there["cancer"] == {}
        for attribute, told in there["disease"].items():
            for group, values in told["groups"].items():
                exact = here["disease"][attribute]["groups"][group]
                assert values.get("mean") == exact.get("mean")
                assert (values["images"] or 0) % 5 == 0
                assert values["reason"] == exact["reason"]


def test_tensorboard_and_mlflow_hold_the_figures_of_the_run(ended, monkeypatch):
    """Read with their own readers."""
    import tensorflow as tf
    from mlflow.tracking import MlflowClient
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = list(figures(read_run(ended.place.metrics("tiny"))))
    assert {"central/test/disease_roc_auc", "sites/north/train/loss", "sites/south/valid/loss"} <= {
        n for _, n, _ in told
    }
    events = EventAccumulator(str(ended.place.run_folder("tiny") / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    points = {
        (event.step, tag): float(tf.make_ndarray(event.tensor_proto))
        for tag in events.Tags()["tensors"]
        for event in events.Tensors(tag)
    }
    assert points == pytest.approx({(step, name): value for step, name, value in told})
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = MlflowClient(tracking_uri=(ended.place.place / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("FedThorax").experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params["seed"]) == ("tiny", "FINISHED", "5")
    history = {
        (point.step, name): point.value
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    }
    assert history == pytest.approx({(step, name): value for step, name, value in told})


def test_every_log_is_a_whole_chain_and_knows_the_head_of_the_others(ended):
    ended.place.verify_logs("tiny")
    server_audit = ended.place.run_folder("tiny") / "audit.jsonl"
    for name in HOSPITALS:
        folder = str(ended.place.site(name))
        ended.place.command("site", "log", "--server-audit", str(server_audit), "--folder", folder)


def test_every_hospital_has_the_models_and_a_report(ended):
    for name in HOSPITALS:
        listed = ended.place.command("site", "results", "--json", "--folder", str(ended.place.site(name)))
        (result,) = json.loads(listed)["results"]
        assert result["name"] == "tiny"
        assert [path.rsplit("/", 1)[1] for path in result["models"]] == ["best.keras", "last.keras"]
        facts = json.loads((ended.place.site(name) / "results" / "tiny" / "model" / "model.json").read_text())
        hashes = {model: entry["weights_sha256"] for model, entry in facts["models"].items()}
        assert hashes == {m: e["weights_sha256"] for m, e in ended.place.models("tiny").items()}


def test_no_private_key_left_its_folder(ended):
    place = ended.place.place
    holders = {
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    }
    own = {f"lead/pki/{name}.key" for name in ("ca", "server", "loopback")}
    hospitals = {f"{name}/{key}" for name in HOSPITALS for key in ("keys/site.key", "state/identity.key")}
    assert holders == own | hospitals


def test_what_flower_brought_to_a_hospital_holds_no_code_and_no_folder_of_anybodys(ended, workplace):
    for name in HOSPITALS:
        brought = [path for path in (ended.place.site(name) / "flwr").rglob("apps/*/*") if path.is_file()]
        assert {path.name for path in brought} == {"README.md", "pyproject.toml"}
        text = "".join(path.read_text() for path in brought)
        for secret in (str(workplace.folder), str(ended.place.place), "PRIVATE KEY"):
            assert secret not in text
