"""From a run folder to its report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from fedthorax import __version__
from fedthorax.common.ground.atomic_write import write_text
from fedthorax.common.ground.audit import AuditLog
from fedthorax.common.ground.wording import at
from fedthorax.common.metrics.scores import Scores, TestedScores
from fedthorax.common.page.frame import rendered
from fedthorax.common.record.modalities import WORDS, lacking, without
from fedthorax.common.record.run import Round, Run
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report import cautions, plots, summary, tables
from fedthorax.common.report.costs import costs_section
from fedthorax.common.report.examples import example_figures
from fedthorax.common.report.glossary import GLOSSARY
from fedthorax.common.report.operating import operating_section
from fedthorax.common.report.personal import personal_section
from fedthorax.common.report.plot_files import write_plots
from fedthorax.common.report.provenance import commands_section, privacy_section
from fedthorax.common.report.script import SCRIPT, SCRIPT_SHA256
from fedthorax.common.report.statistics import statistics_section
from fedthorax.common.report.subgroups import subgroup_section
from fedthorax.common.report.template import TEMPLATE


def write_report(run: Path) -> Path:
    """Write ``report.html`` and ``plots/`` into the run folder and return the former's path; a run that has not ended
    gets them too.

    FileNotFoundError if the folder holds no run, ValueError if its metrics are of another schema.
    """
    folder = RunFolder.load(run)
    config = folder.config.read_text(encoding="utf-8") if folder.config.is_file() else None
    measured = folder.read_run()
    examples, joined = example_figures(folder.examples), _joined(folder.path, measured)
    write_text(folder.report, render(measured, config, _audit(folder.audit), joined, examples))
    write_plots(folder.plots, measured)
    return folder.report


def _joined(run: Path, measured: Run) -> tuple[str, Mapping[str, Any]] | None:
    """Where ``fedthorax joining`` left what each of the run's hospitals had alone, and its document; None without."""
    for folder in (run.absolute().parent, run.absolute().with_name(f"{run.absolute().name}-joining")):
        try:
            document = json.loads((folder / "joining.json").read_text(encoding="utf-8"))
            if set(document["hospitals"]) == set(measured.sites):
                return folder.name, document
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _audit(path: Path) -> tuple[int, str] | None:
    """None where there is no log, or its last line is damaged: the report must be written all the same."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return sum(1 for _ in file), AuditLog(path).head()
    except (OSError, ValueError):
        return None


def render(
    run: Run,
    config: str | None,
    audit: tuple[int, str] | None = None,
    joined: tuple[str, Mapping[str, Any]] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The document for a run and the text of its ``config.yaml``; equal input, equal output.

    ``audit`` is the number of lines of the run's log, and its newest hash; ``joined`` as ``summary.answers`` has it;
    ``examples`` as ``example_figures`` gives them.
    """
    settings = _settings(config)
    absent = lacking(run)
    run = without(run, absent)
    if run.test and run.test.patients.xray == run.test.patients.ct == 0:  # scores of no image are no scores
        run = run.model_copy(update={"test": None, "test_with_duplicates": None})
    test, scored = run.test, run.scored_round
    scores: Scores | None = test or (scored.central if scored else None)
    charts, sites = plots.round_charts(run, absent), list(run.sites)
    limits = cautions.cautions(run, absent)
    return rendered(
        TEMPLATE,
        run=run,
        script=Markup(SCRIPT),
        script_sha256=SCRIPT_SHA256,
        facts=summary.run_facts(run),
        answers=summary.answers(run, absent, joined),
        headlines=summary.headlines(scores, absent),
        is_test=test is not None,
        absent=absent,
        image_heads=[words for key, words in WORDS.items() if key != absent],
        main_heads=tables.main_heads(absent),
        cautions=limits,
        num_unfolded=max(3, min(6, sum(caution.grave for caution in limits) + 1)),
        scores=scores,
        scores_title=_scores_title(test is not None, scored),
        scored_on="the central test images" if test else "the central validation images",
        disease_caption=_disease_caption(settings, test is not None, run.operating_points is not None),
        cancer_caption=_cancer_caption(scores, test is not None),
        disease=tables.score_rows(scores, "disease"),
        cancer=tables.score_rows(scores, "cancer"),
        forests=tables.forests(scores),
        agreement=tables.agreement(run),
        examples=examples,
        few=cautions.FEW_IMAGES,
        given=tables.given_rows(test, absent),
        pooled=tables.pooled(run),
        undefined=summary.undefined(scores),
        confusion=tables.confusion(scores),
        disease_rocs=tables.roc_squares(test, "disease"),
        cancer_rocs=tables.roc_squares(test, "cancer"),
        operating=operating_section(run),
        subgroups=subgroup_section(run),
        charts=charts,
        chart_data=_chart_data(run, charts),
        legend=plots.legend(sites),
        pickable=sites if len(sites) > plots.MAX_COLOURED_SITES else [],
        phases=summary.phases(run),
        sites=tables.site_rows(run, absent),
        sites_caption=tables.sites_caption(absent),
        site_gaps=tables.site_gaps(run, absent),
        scored_round=scored and scored.round,
        failures=tables.failure_rows(run),
        data=tables.data_rows(run, absent),
        pairing=tables.pairing(run, absent),
        remarks=tables.remarks(run),
        personal=personal_section(run),
        statistics=statistics_section(run.statistics),
        rounds=tables.round_rows(run, absent),
        costs=costs_section(run),
        privacy=privacy_section(run, settings, audit),
        again=commands_section(run, absent),
        config=config if config is not None else "config.yaml is missing.",
        glossary=GLOSSARY,
        software=__version__,
    )


def _scores_title(is_test: bool, scored: Round | None) -> str:
    if is_test:
        return "Scores on the central test images"
    return "Scores" if scored is None else f"Scores on the central validation images, round {scored.round}"


def _settings(config: str | None) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(config or "")
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, Mapping) else {}


def _chart_data(run: Run, charts: Sequence[Mapping[str, Any]]) -> Markup:
    """What the script shows under the pointer, as JSON that cannot end its element."""
    rounds = [entry.round for entry in run.rounds]
    return htmlsafe_json_dumps(
        {"rounds": rounds, **{str(number): chart["values"] for number, chart in enumerate(charts)}},
        dumps=json.dumps,
        separators=(",", ":"),
    )


def _disease_caption(settings: Mapping[str, Any], is_test: bool, chosen: bool) -> str:
    threshold = at(settings, "evaluation", "threshold")
    at_threshold = f"a probability of {threshold:g}" if isinstance(threshold, float) else "the decision threshold"
    if is_test and chosen:
        at_threshold = "its own threshold (Thresholds, below)"
    intervals = " Intervals: 95 %, patients resampled." if is_test else ""
    return (
        f"F1, precision, recall and accuracy count a finding as predicted from {at_threshold} on.{intervals} "
        "Small numbers after a mean: over how many findings it runs."
    )


def _cancer_caption(scores: Scores | None, is_test: bool) -> str:
    intervals = " Intervals: 95 %, patients resampled." if is_test else ""
    accuracy = scores and scores.cancer.accuracy
    overall = f" Accuracy over all classes: {accuracy:.3f}." if accuracy is not None else ""
    by_patient = scores.examinations if isinstance(scores, TestedScores) else None
    without = f" By patient: {by_patient.reason}" if by_patient and by_patient.reason else ""
    said = "ROC-AUC of each class against all others; the prediction is the most probable class."
    return f"{said}{overall}{intervals}{without}"
