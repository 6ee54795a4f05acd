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
from fedthorax.common.page.frame import rendered
from fedthorax.common.page.modalities import WORDS, lacking, without
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
    metrics = folder.read_metrics()
    examples, joined = example_figures(folder.examples), _joined(folder.path, metrics)
    write_text(folder.report, render(metrics, config, _audit(folder.audit), joined, examples))
    write_plots(folder.plots, metrics)
    return folder.report


def _joined(run: Path, metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Where ``fedthorax joining`` left what each of the run's hospitals had alone, and its document; None without."""
    for folder in (run.absolute().parent, run.absolute().with_name(f"{run.absolute().name}-joining")):
        try:
            document = json.loads((folder / "joining.json").read_text(encoding="utf-8"))
            if set(document["hospitals"]) == set(metrics["sites"]):
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
    metrics: Mapping[str, Any],
    config: str | None,
    audit: tuple[int, str] | None = None,
    joined: tuple[str, Mapping[str, Any]] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The document for the content of ``metrics.json`` and the text of ``config.yaml``; equal input, equal output.

    ``audit`` is the number of lines of the run's log, and its newest hash; ``joined`` as ``summary.answers`` has it;
    ``examples`` as ``example_figures`` gives them.
    """
    settings = _settings(config)
    absent = lacking(metrics)
    metrics = without({"name": "unnamed run", "best_round": None, "config_sha256": None, **metrics}, absent)
    is_test = _is_tested(metrics)
    if not is_test:  # scores of no image are no scores
        metrics = {**metrics, "test": None, "test_with_duplicates": None}
    scored = _scored_round(metrics)
    scores = metrics["test"] if is_test else at(scored, "central")
    classes = at(metrics, "labels", "cancer_classes") or []
    charts, sites = plots.round_charts(metrics, absent), list(metrics.get("sites") or {})
    limits = cautions.cautions(metrics, absent)
    return rendered(
        TEMPLATE,
        metrics=metrics,
        script=Markup(SCRIPT),
        script_sha256=SCRIPT_SHA256,
        facts=summary.run_facts(metrics),
        answers=summary.answers(metrics, absent, is_test, joined),
        headlines=summary.headlines(scores, absent),
        is_test=is_test,
        absent=absent,
        image_heads=[words for key, words in tables.IMAGES.items() if key != absent],
        main_heads=tables.main_heads(absent),
        cautions=limits,
        num_unfolded=max(3, min(6, sum(caution.grave for caution in limits) + 1)),
        scores=scores,
        scores_title=_scores_title(is_test, scored),
        scored_on="the central test images" if is_test else "the validation images that selected the model",
        disease_caption=_disease_caption(settings, is_test, bool(metrics.get("operating_points"))),
        cancer_caption=_cancer_caption(scores, is_test),
        disease=tables.score_rows(scores or {}, "disease"),
        cancer=tables.score_rows(scores or {}, "cancer"),
        forests=tables.forests(scores),
        agreement=tables.agreement(metrics, scored),
        examples=examples,
        few=cautions.FEW_IMAGES,
        given=tables.given_rows(scores, absent),
        pooled=tables.pooled(metrics),
        undefined=summary.undefined(scores),
        confusion=tables.confusion(scores or {}, classes),
        disease_rocs=tables.roc_squares(scores or {}, "disease"),
        cancer_rocs=tables.roc_squares(scores or {}, "cancer"),
        operating=operating_section(metrics),
        subgroups=subgroup_section(metrics),
        charts=charts,
        chart_data=_chart_data(metrics, charts),
        legend=plots.legend(sites),
        pickable=sites if len(sites) > plots.MAX_COLOURED_SITES else [],
        phases=summary.phases(metrics),
        sites=tables.site_rows(metrics, scored, absent),
        sites_caption=tables.sites_caption(absent),
        site_gaps=tables.site_gaps(metrics, scored, absent),
        scored_round=at(scored, "round"),
        failures=tables.failure_rows(metrics),
        data=tables.data_rows(metrics, absent),
        pairing=tables.pairing(metrics, absent),
        remarks=tables.remarks(metrics),
        left_out=at(metrics, "central", "left_out") or [],
        personal=personal_section(metrics),
        statistics=statistics_section(metrics.get("statistics")),
        rounds=tables.round_rows(metrics, absent),
        costs=costs_section(metrics),
        privacy=privacy_section(metrics, settings, audit),
        again=commands_section(metrics, absent),
        config=config if config is not None else "config.yaml is missing.",
        glossary=GLOSSARY,
        software=__version__,
    )


def _is_tested(metrics: Mapping[str, Any]) -> bool:
    """Whether there are scores of central test images; a run without any image there has empty ones."""
    images = [at(metrics, "test", "patients", modality) for modality in WORDS]
    return bool(metrics.get("test")) and images != [0, 0]


def _scored_round(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The round whose validation scores are shown: the selected one, or the last."""
    rounds = metrics.get("rounds") or []
    best = [entry for entry in rounds if entry["round"] == metrics.get("best_round")]
    return best[0] if best else rounds[-1] if rounds else None


def _scores_title(is_test: bool, scored: Mapping[str, Any] | None) -> str:
    if is_test:
        return "Scores on the central test images"
    return "Scores" if scored is None else f"Scores on the central validation images, round {scored['round']}"


def _settings(config: str | None) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(config or "")
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, Mapping) else {}


def _chart_data(metrics: Mapping[str, Any], charts: Sequence[Mapping[str, Any]]) -> Markup:
    """What the script shows under the pointer, as JSON that cannot end its element."""
    rounds = [entry["round"] for entry in metrics.get("rounds") or []]
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


def _cancer_caption(scores: Mapping[str, Any] | None, is_test: bool) -> str:
    intervals = " Intervals: 95 %, patients resampled." if is_test else ""
    accuracy = at(scores, "cancer", "accuracy")
    overall = f" Accuracy over all classes: {accuracy:.3f}." if accuracy is not None else ""
    return f"ROC-AUC of each class against all others; the prediction is the most probable class.{overall}{intervals}"
