import base64
import hashlib
import html
import html.parser
import json
import re
import time

import pytest

from fedthorax.common.record.examples import EXAMPLES, Example
from fedthorax.common.record.run import read_run
from fedthorax.common.report import write_report
from fedthorax.common.report.document import render
from fedthorax.common.report.examples import example_figures

CONFIG = "# comment\n\nname: demo\nevaluation:\n  threshold: 0.4\n"
WHOLE = ("calibration", "operating_points", "pooled", "train", "phase")  # there as a whole or not at all
VOID = {"img", "meta", "br", "rect", "path", "line", "circle"}


class Page(html.parser.HTMLParser):
    """Checks that elements close in order, and collects what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def nulled(value):
    """Every figure and interval, and what is there as a whole or not at all, turned into null; counts stay."""
    if isinstance(value, dict):
        kept = ("level",)  # how wide the intervals are, where there are any
        return {key: item if key in kept else None if key in WHOLE else nulled(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [nulled(item) for item in value]
        return None if items and all(item is None for item in items) else items
    return None if isinstance(value, float) else value


def test_the_page_is_well_formed_and_loads_nothing(metrics):
    text = render(read_run(metrics), CONFIG)
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch|XMLHttp|import\(", text)
    assert {"src", "href"} & {key for _, attributes in page.elements for key in attributes} == {"href"}
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe")
        if "href" in attributes:
            assert attributes["href"].startswith("#")
    assert "default-src 'none'" in text
    script = hashlib.sha256(re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(script).decode()}'" in text
    assert text.count("<script") == 2
    json.loads(re.findall(r'id="chart-data">(.*?)</script>', text)[0])


def test_links_and_labels_point_to_something_that_is_there_once(metrics):
    page = Page(render(read_run(metrics), CONFIG))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    wanted = {attributes["href"][1:] for _, attributes in page.elements if "href" in attributes}
    wanted |= {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
    assert wanted <= set(ids)


def test_drawings_say_in_words_what_they_show_and_tables_have_captions_and_scopes(metrics):
    page = Page(render(read_run(metrics), CONFIG))
    for tag, attributes in page.elements:
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "th":
            assert attributes["scope"] in ("row", "col", "colgroup", "rowgroup")
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption")
    assert tags.count("h1") == 1
    assert "Central validation set: 0." in " ".join(a.get("aria-label", "") for _, a in page.elements)


def test_the_first_screen_tells_the_answer(metrics):
    text = Page(render(read_run(metrics), CONFIG)).text
    auc = metrics["test"]["disease"]["macro"]["roc_auc"]
    low, high = metrics["test"]["intervals"]["disease"]["macro"]["roc_auc"]
    assert "One model for 14 X-ray findings and 4 CT classes, in 10 rounds." in text
    assert "3 hospitals, Nordklinik, St. Anna and University Hospital South, with 900 X-rays" in text
    assert f"{auc:.3f} 95 % interval {low:.3f} to {high:.3f}" in text
    assert "900 X-rays and 675 CT slices to train on" in text
    assert "240 X-rays of 198 patients and 180 CT slices of 180 patients" in text
    assert "from its own threshold (Thresholds, below) on" in text
    unchosen = {**metrics, "operating_points": None}
    assert "from a probability of 0.4 on" in Page(render(read_run(unchosen), CONFIG)).text


def test_names_from_outside_are_text_and_never_markup(metrics, run_metrics):
    evil = '<script>alert("1")</script>\' onload="x'
    changed = json.loads(json.dumps(run_metrics((evil, "b"), 2)).replace("Hernia", "<b>Hernia</b>"))
    changed["error"] = changed["name"] = evil
    changed["status"] = "failed"
    changed["sites"][evil]["data"]["notes"] = [evil]
    changed["sites"][evil]["data"]["skipped"] = [{"file": evil, "reason": evil}]
    changed["rounds"][1]["failures"] = [{"site": evil, "stage": evil, "reason": evil}]
    text = render(read_run(changed), f"name: '{evil}'")
    assert text.count("<script") == 2, "the page's own"
    assert "<script>alert" not in text
    assert "<b>" not in text
    page = Page(text)
    assert evil in page.text
    assert all("onload" not in attributes for _, attributes in page.elements)


def test_equal_input_gives_equal_output(metrics):
    assert render(read_run(metrics), CONFIG) == render(read_run(json.loads(json.dumps(metrics))), CONFIG)


@pytest.mark.parametrize("mode", ["simulate", "train"])
def test_a_run_with_nulls_everywhere_has_a_report(metrics, mode):
    for named in ("curves", "subgroups"):
        metrics["test"][named] = None
    text = Page(render(read_run({**nulled(metrics), "mode": mode}), None)).text
    assert "None" not in text.replace("None of the", "")  # the beginning of a reason
    assert "nan" not in text.lower().split()
    assert "config.yaml is missing." in text


def test_a_run_that_has_only_begun_has_a_report(begun):
    text = Page(render(read_run(begun), CONFIG)).text
    assert "Not finished." in text
    assert "No round was scored." in text


def test_one_hospital_and_one_round_have_a_report(run_metrics):
    text = Page(render(read_run(run_metrics(("Nord",), 1, mode="train")), CONFIG)).text
    assert "In one place, on the images of Nord: 300 X-rays and 225 CT slices to train on." in text
    assert "They exchanged" not in text


def test_without_test_scores_the_validation_scores_stand_in_and_say_so(metrics):
    text = Page(render(read_run({**metrics, "test": None, "status": "interrupted"}), CONFIG)).text
    assert "Scores on the central validation images, round 8" in text
    assert "X-ray findings: mean ROC-AUC (validation)" in text
    assert "95 % interval 0." not in text
    assert "which also chose the model, so it flatters" in text
    assert "ROC-AUC on the central validation images" in text


def test_a_test_of_no_image_is_none(metrics):
    """A server without test images has a ``test`` of nulls."""
    empty = {**metrics["test"], "patients": {"xray": 0, "ct": 0}}
    assert render(read_run({**metrics, "test": empty}), CONFIG) == render(read_run({**metrics, "test": None}), CONFIG)
    assert " 0 X-rays of" not in Page(render(read_run({**metrics, "test": empty}), CONFIG)).text


def test_why_no_class_has_a_figure_by_patient_is_said(metrics):
    nothing = {"rule": "mean", "mixed": None, "reason": "No patient has several.", "cancer": None, "intervals": None}
    metrics["test"]["examinations"] = nothing
    assert "By patient: No patient has several." in Page(render(read_run(metrics), CONFIG)).text


def test_what_joining_was_worth_is_found_beside_the_run(tmp_path, metrics, monkeypatch):
    monkeypatch.setattr("fedthorax.common.report.document.write_plots", lambda *_: None)  # seconds
    verdict = {"own": {"verdict": {"disease": "helped", "cancer": "helped"}}}
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "metrics.json").write_text(json.dumps({**metrics, "rounds": []}))
    (tmp_path / "demo-joining").mkdir()
    file = tmp_path / "demo-joining" / "joining.json"
    for hospitals, found in ((["Other"], False), (list(metrics["sites"]), True)):
        file.write_text(json.dumps({"hospitals": dict.fromkeys(hospitals, verdict)}))
        text = write_report(tmp_path / "demo").read_text(encoding="utf-8")
        assert ("From demo-joining, where every hospital was also trained alone." in text) == found


def test_thirty_hospitals_and_fifty_rounds_stay_small_and_quick(run_metrics):
    large = read_run(run_metrics(tuple(f"Hospital {number}" for number in range(30)), 50))
    start = time.process_time()
    text = render(large, CONFIG)
    assert time.process_time() - start < 3
    assert len(text.encode()) < 5_000_000
    assert "Median of the hospitals" in text


def test_examples_stand_in_the_page_itself_and_their_words_are_text(tmp_path, metrics):
    example = Example(
        modality="xray",
        label="<b>Mass</b>",
        truth="present",
        right=False,
        probability=0.25,
        threshold=0.5,
        file="1.png",
        image="00-image.jpg",
        map="00-map.jpg",
        notes=("No place stands out: the map is nearly even.",),
    )
    gone = example.model_copy(update={"image": "01-image.jpg"})
    near = example.model_copy(update={"probability": 0.49998})
    slice_ = example.model_copy(update={"modality": "ct", "label": "normal", "truth": "tumour", "threshold": None})
    (tmp_path / "examples.json").write_bytes(EXAMPLES.dump_json((example, gone, near, slice_)))
    for name in ("00-image.jpg", "00-map.jpg"):
        (tmp_path / name).write_bytes(b"picture")
    figures = example_figures(tmp_path)
    assert [figure["words"] for figure in figures] == [
        "<b>Mass</b> is present, but the model says no (0.250, yes from 0.500 on). "
        "No place stands out: the map is nearly even.",
        "<b>Mass</b> is present, but the model says no (0.49998, yes from 0.50000 on). "
        "No place stands out: the map is nearly even.",
        "The model says normal (0.250), but it is tumour. No place stands out: the map is nearly even.",
    ]
    text = render(read_run(metrics), CONFIG, examples=figures)
    assert "<b>" not in text
    page = Page(text)
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert {picture["src"] for picture in pictures} == {"data:image/jpeg;base64,cGljdHVyZQ=="}
    assert all(picture["alt"] for picture in pictures)
    assert "Wrong. <b>Mass</b> is present" in page.text


@pytest.mark.ci
def test_the_report_is_written_into_the_run_folder(tmp_path, metrics):
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "config.yaml").write_text(CONFIG)
    assert write_report(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(read_run(metrics), CONFIG)
    with pytest.raises(FileNotFoundError, match=r"holds no metrics\.json"):
        write_report(tmp_path.parent)
