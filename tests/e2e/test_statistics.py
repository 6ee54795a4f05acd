"""``fedthorax stats`` in real processes, through Flower, and the statistics that a run leaves behind."""

import json
import shutil

import pytest

pytestmark = pytest.mark.ci


@pytest.mark.slow
def test_all_hospitals_are_asked_and_a_shared_image_is_found(workplace, tmp_path):
    copied = sorted((workplace.folder / "data" / "north" / "ct").rglob("*.png"))[0]
    target = workplace.folder / "data" / "south" / "ct" / copied.parent.name / "copied-from-north.png"
    shutil.copy(copied, target)
    try:
        done = workplace.run("stats", "tiny.yaml", "--json", "--html", str(tmp_path / "page.html"))
    finally:
        target.unlink()
    document = json.loads(done.stdout)
    assert list(document["sites"]) == ["north", "south"]
    assert document["failures"] == []
    assert document["totals"]["xray"]["patients"]["count"] > 0
    (pair,) = document["duplicates"]["pairs"]
    assert (pair["sites"], pair["xray"], pair["ct"], pair["reason"]) == (["north", "south"], 0, 1, None)
    assert pair["ct_alike"] >= 1
    assert document["distances"]["xray_intensity"]["pairs"][0]["distance"] > 0
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert done.stderr == ""


@pytest.mark.slow
def test_a_hospital_without_its_folder_is_named_and_the_other_is_shown(workplace):
    arguments = ["--set", "data.hospitals.south.xray.folder=data/gone"]
    done = workplace.run("stats", "tiny.yaml", *arguments)
    assert "no answer that counts from south:" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_run_has_the_statistics_in_its_metrics_and_in_its_report(workplace, simulated):
    statistics = workplace.metrics("tiny")["statistics"]
    assert list(statistics["sites"]) == ["north", "south"]
    assert statistics["failures"] == []
    report = (workplace.folder / "runs" / "tiny" / "report.html").read_text(encoding="utf-8")
    assert 'id="statistics"' in report
