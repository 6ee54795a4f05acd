"""A consortium of X-rays alone, or of CT slices alone: what was not there is said once, and not drawn."""

import re

import pytest

from fedthorax.cli.tables import headline_lines
from fedthorax.common.record.modalities import lacking, without
from fedthorax.common.record.run import read_run
from fedthorax.common.release.model_card import model_card
from fedthorax.common.report.document import render
from fedthorax.common.report.plot_files import write_plots

from ...runs import central_test, partial_run

CONFIG = "name: demo\nevaluation:\n  threshold: 0.5\n"


def words(text):
    text = re.sub(r"<(style|script|svg|pre|dl class=.glossary).*?</(style|script|svg|pre|dl)>", " ", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.fixture
def only(metrics):
    """The metrics of a run without images of ``absent``."""

    def emptied(absent):
        task, group = {"ct": ("cancer", "per_class"), "xray": ("disease", "per_finding")}[absent]
        holders = [site["data"] for site in metrics["sites"].values()] + [metrics["central"]["data"]]
        for data in holders:
            data["notes"] = []
            for split in data["splits"].values():
                split |= {absent: 0, f"{absent}_patients": 0}
            if data["pairing"]:
                data["pairing"][f"{absent}_uses"] = None
        scores = [metrics["test"], *(site["test"] for site in metrics["sites"].values())]
        scores += [entry["central"] for entry in metrics["rounds"]]
        for one in scores:
            rows = {name: {**row, "roc_auc": None, "support": 0} for name, row in one[task][group].items()}
            one[task] = {**one[task], group: rows, "macro": {"reasons": {"roc_auc": "No label has this figure."}}}
        metrics["test"]["patients"][absent] = 0
        metrics["test"]["subgroups"][task] = {}
        metrics["central"]["left_out"] = []
        for site in metrics["sites"].values():
            site["subgroups"] = None
        return metrics

    return emptied


def test_a_modality_is_lacking_where_nobody_holds_an_image_of_it(metrics, only):
    assert lacking(read_run(metrics)) is None
    assert lacking(read_run(only("ct"))) == "ct"
    metrics["sites"]["St. Anna"]["data"]["splits"]["test"]["ct"] = None
    assert lacking(read_run(metrics)) is None, "a hidden count is not 0"
    metrics["central"]["data"] = None
    assert lacking(read_run(metrics)) is None, "the server has not told"
    run = read_run(metrics)
    assert without(run, None) is run


@pytest.mark.parametrize(
    ("absent", "said", "unsaid"),
    [
        ("ct", "No CT slices.", ["CT class", "CT slice", "CT accuracy", "CT ROC-AUC", "adenocarcinoma", "both tasks"]),
        ("xray", "No X-rays.", ["X-ray finding", "X-ray ROC-AUC", "Effusion", "Uses of an X-ray", "both tasks"]),
    ],
)
def test_the_report_says_once_what_there_is_not_and_shows_no_empty_figures_of_it(only, absent, said, unsaid):
    page = render(read_run(only(absent)), CONFIG)
    text = words(page)
    assert text.count(said) == 1
    text = re.sub(f"{said} Nobody held any: .*? not shown|Nobody has .*?: a learned token", "", text)
    assert [phrase for phrase in unsaid if phrase in text] == []
    assert page.count("<figure data-chart") == 4
    assert f"fedthorax predict RUN --{'xray' if absent == 'ct' else 'ct'} FILE\n" in page
    assert f"One model for {'14 X-ray findings' if absent == 'ct' else '4 CT classes'}, in 10 rounds." in text


def test_plots_are_drawn_of_what_there_is(only, tmp_path):
    names = {path.stem for path in write_plots(tmp_path / "plots", read_run(only("ct")))}
    assert names == {"rounds", "scores-findings", "roc-findings", "reliability"}


def test_the_model_card_says_that_a_head_has_learnt_nothing(only):
    metrics = only("ct")
    entry = {"round": 8, "weights_sha256": "w", "facts_sha256": "f", "operating_points": None, "evaluation": {}}
    facts = {"name": "m", "findings": ["Mass"], "cancer_classes": ["normal"], "image_size": 64}
    card = model_card(facts, entry, read_run(metrics))
    assert "- No CT slices: nobody had any, and the head for them has learnt nothing." in card
    assert "Not intended: any decision about a patient; children or views that the data below do not hold; any" in card
    assert "| normal" not in card
    assert "CT accuracy" not in card


def test_the_terminal_says_what_there_is_not_to_test_on():
    def told(**patients):
        return headline_lines(read_run(partial_run(test=central_test(patients=patients))).test)

    assert told(xray=9, ct=0)[2:] == ["  CT classes: there is no CT slice to test on"]
    assert told(xray=0, ct=9)[0] == "  X-ray findings: there is no X-ray to test on"
    assert len(told(xray=0, ct=9)) == 4
