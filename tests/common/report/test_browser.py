"""The report as people use it: in a browser, by pointer and keyboard, without a network.

Needs Debian's chromium, or the browser that FEDTHORAX_CHROMIUM names; none is downloaded. Without one these tests are
skipped, unless FEDTHORAX_BROWSER=required: then they fail, as in .ci/run.
"""

import re

import pytest

from fedthorax.common.record.run import read_run
from fedthorax.common.report.document import render

from .synthetic import PRIVACY

CONFIG = "name: demo\nevaluation:\n  threshold: 0.4\ndata:\n  privacy: {smallest_count: 5, round_to: 5}\n"

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a report from its file; afterwards nothing may have been said on the console or asked of a network."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    said, asked = [], []

    def open_report(metrics, unfolded=True):
        file = tmp_path / "report.html"
        file.write_text(render(read_run(metrics), CONFIG), encoding="utf-8")
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        if unfolded:
            page.get_by_role("button", name="Open everything").click()
        return page

    yield open_report
    assert said == []
    assert set(asked) == {(tmp_path / "report.html").as_uri()}
    context.close()


def column(page, table, index):
    return page.locator(f"{table} tbody:first-of-type tr").evaluate_all(
        "(rows, index) => rows.map((row) => row.cells[index].textContent.trim())", index
    )


def test_the_part_about_privacy_prints_by_itself_on_one_sheet(opened, metrics):
    metrics["masks"] = {"smallest_sum": 3, "threshold": 3, "roster": " ".join(["12345"] * 12)}
    metrics["privacy"] = PRIVACY
    page = opened(metrics, unfolded=False)
    page.goto(f"{page.url}#privacy")
    sheets = re.findall(rb"/Type /Page\b", page.pdf(format="A4"))
    page.emulate_media(media="print")
    assert page.get_by_text("The lead's server").is_visible()
    assert page.get_by_text("What was trained?").is_hidden()
    assert len(sheets) == 1


FINDINGS = "table[aria-labelledby=findings-table]"


def test_a_table_sorts_by_any_column_and_says_how(opened, metrics):
    page = opened(metrics)
    heading = page.locator(f"{FINDINGS} th", has_text="ROC-AUC").first
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    falling = [float(cell) for cell in column(page, FINDINGS, 1)]
    assert falling == sorted(falling, reverse=True)
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(cell) for cell in column(page, FINDINGS, 1)] == sorted(falling)
    page.locator(f"{FINDINGS} th", has_text="Finding").get_by_role("button").click()
    names = column(page, FINDINGS, 0)
    assert names == sorted(names)
    assert heading.get_attribute("aria-sort") is None


def test_undefined_figures_stay_at_the_end_and_durations_sort_by_time(opened, metrics):
    page = opened(metrics)
    heading = page.locator(f"{FINDINGS} th", has_text="Precision").get_by_role("button")
    for _ in range(2):
        heading.click()
        assert column(page, FINDINGS, 3)[-1] == "\N{EN DASH}"
    metrics["sites"]["St. Anna"]["data"] = None
    for entry in metrics["rounds"]:
        if entry["sites"]["St. Anna"]["train"]:
            entry["sites"]["St. Anna"]["train"]["seconds"] = 4000.0
    page = opened(metrics)
    costs = "table:has(caption:has-text('Local training'))"
    page.locator(f"{costs} th", has_text="Training").get_by_role("button").click()
    assert column(page, costs, 0)[0] == "St. Anna"


def test_a_hospital_can_be_switched_off_in_all_charts(opened, metrics):
    page = opened(metrics)
    switch = page.locator(".switches").get_by_role("button", name="St. Anna")
    assert switch.get_attribute("aria-pressed") == "true"
    lines = page.locator("figure[data-chart] g[data-name='St. Anna']")
    assert lines.count() == 6
    switch.click()
    assert switch.get_attribute("aria-pressed") == "false"
    assert all(not lines.nth(row).is_visible() for row in range(6))
    switch.press("Space")
    assert lines.first.is_visible()


def test_values_stand_under_the_pointer_and_follow_the_arrow_keys(opened, metrics):
    page = opened(metrics)
    chart = page.locator("figure[data-chart='2'] svg")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + box["height"] / 2)
    tip = page.get_by_role("status")
    value = metrics["rounds"][-1]["central"]["disease"]["macro"]["roc_auc"]
    assert tip.inner_text().splitlines()[:2] == ["Round 10", f"Central validation set: {value:.3f}"]
    page.mouse.move(0, 0)
    assert not tip.is_visible()
    chart.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("Round 1\n")
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_roc_curves_tell_sensitivity_and_specificity(opened, metrics):
    page = opened(metrics)
    curve = page.locator("svg.roc[data-curve=Effusion]")
    curve.scroll_into_view_if_needed()
    curve.hover()
    assert page.get_by_role("status").inner_text().startswith("Effusion\nsensitivity 0.")


def test_one_of_many_hospitals_can_be_picked_out_and_the_page_is_there_at_once(opened, run_metrics):
    page = opened(run_metrics(tuple(f"Hospital {number}" for number in range(30)), 50))
    page.get_by_label("Pick out a hospital:").select_option("Hospital 7")
    assert page.locator("g.picked[data-name='Hospital 7']").count() == 6
    chart = page.locator("figure[data-chart='2'] svg")
    chart.focus()
    assert "Hospital 7: 0." in page.get_by_role("status").inner_text()
    page.get_by_label("Pick out a hospital:").select_option("none")
    assert page.locator("g.picked").count() == 0


def test_nothing_is_wider_than_the_page_on_a_telephone_and_everything_is_reached_by_tab(opened, metrics):
    page = opened(metrics, unfolded=False)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the scores"
    page.keyboard.press("Enter")
    assert page.locator("details.fold:has(#scores)").get_attribute("open") is not None
    page.get_by_role("button", name="Open everything").press("Enter")
    assert page.locator("details.fold:not([open])").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_first_screen_of_a_laptop_answers_every_question(opened, metrics):
    page = opened(metrics, unfolded=False)
    for question in ("What was trained?", "With whom?", "How good is it?", "Better than each hospital alone?"):
        box = page.get_by_text(question, exact=True).bounding_box()
        assert box["y"] + box["height"] < 768
    box = page.get_by_text("Can I trust it?").bounding_box()
    assert box["y"] + box["height"] < 768
    assert page.evaluate("document.documentElement.scrollHeight") < 4000


def test_without_a_script_every_part_is_opened_by_itself(browser, tmp_path, metrics):
    (tmp_path / "report.html").write_text(render(read_run(metrics), CONFIG), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    page.locator("summary", has_text="Thresholds and calibration").click()
    assert page.get_by_text("for calibrated probabilities; what they are worth").is_visible()
    context.close()


def test_on_paper_everything_but_the_longest_tables_is_unfolded(opened, metrics):
    page = opened(metrics, unfolded=False)
    folded = page.locator("details:not([open], .bulky)")
    before = folded.count()
    assert before
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
    assert page.locator("details.bulky:not([open])").count() > 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folded.count() == before
    assert page.pdf()[:5] == b"%PDF-"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_the_page_in_both_schemes(opened, metrics, scheme):
    page = opened(metrics)
    page.emulate_media(color_scheme=scheme)
    ratios = page.evaluate(CONTRASTS)
    assert min(ratios.values()) >= 4.5, ratios


CONTRASTS = """() => {
  const light = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
      const share = Number(part) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  const found = {};
  for (const selector of ["body", ".small", "caption", ".few", ".striking", "a", ".grave strong", ".over"]) {
    const one = document.querySelector(selector);
    if (!one) continue;
    const [high, low] = [light(getComputedStyle(one).color), page].sort((a, b) => b - a);
    found[selector] = (high + 0.05) / (low + 0.05);
  }
  return found;
}"""
