"""The model card, Markdown for people; ``model.json`` holds the same for programs (card_facts.py).

Sections as in Mitchell et al., Model Cards for Model Reporting, FAT* 2019, as far as a run can fill them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fedthorax.common.ground.wording import at, count, counted, figure, interval, joined, moment
from fedthorax.common.metrics.figures import CLASS_METRICS, shown_in
from fedthorax.common.page.modalities import WORDS, lacking, without
from fedthorax.common.release.card_facts import data_facts, hospital_facts, intended_use, limits, not_intended
from fedthorax.common.report.subgroups import TASKS, TITLES, of_hospitals, of_task, signed

_TASKS = (("xray", "disease", "per_finding", "findings"), ("ct", "cancer", "per_class", "classes"))


def model_card(facts: Mapping[str, Any], entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card of one model: ``facts`` and ``entry`` of model.json, ``metrics`` of its run.

    Of a modality that nobody had, it says that and no more.
    """
    absent = lacking(metrics)
    metrics = without(metrics, absent)
    tasks = [one for one in _TASKS if one[0] != absent]
    parts = [
        f"# Model card: {facts['name']}",
        "**For research. Not a medical device; it must not guide diagnosis or treatment.**",
        _model(facts, entry, metrics, absent),
        _use(absent),
        _data(metrics),
        _scores(entry, metrics, tasks),
        _operating(entry, tasks),
        _calibration(metrics) if entry["operating_points"] else "",
        _hospitals(metrics, absent),
        _subgroups(metrics) if entry["evaluation"] else "",
        _limits(entry, metrics),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _model(facts: Mapping[str, Any], entry: Mapping[str, Any], metrics: Mapping[str, Any], absent: str | None) -> str:
    versions = facts.get("versions") or {}
    sites = list(metrics.get("sites") or {})
    lines = [
        "## Model",
        f"- Run {metrics.get('name')} ({metrics.get('run') or 'identity not recorded'}), round {entry['round']}, "
        f"trained {_how(metrics, sites)}, {moment(metrics.get('started'))}.",
        f"- One chest X-ray and one CT slice go in, {facts['image_size']} pixels square; out come "
        f"{counted(len(facts['findings']), 'X-ray finding')} (sigmoid) and "
        f"{counted(len(facts['cancer_classes']), 'CT class', 'CT classes')} (softmax).",
        f"- X-ray findings: {', '.join(facts['findings'])}.",
        f"- CT classes: {', '.join(facts['cancer_classes'])}.",
        *([f"- No {WORDS[absent]}: nobody had any, and the head for them has learnt nothing."] if absent else []),
        f"- Weights, SHA-256: `{entry['weights_sha256']}`.",
        f"- Facts, SHA-256: `{entry['facts_sha256']}`.",
        f"- Software: {', '.join(f'{name} {version}' for name, version in versions.items()) or 'not recorded'}.",
    ]
    return "\n".join(lines)


def _how(metrics: Mapping[str, Any], sites: Sequence[str]) -> str:
    if metrics.get("mode") == "train":
        return f"in one place on the images of {joined(sites)}"
    where = " (simulated on one machine)" if metrics.get("mode") == "simulate" else ""
    return f"by {joined(sites, limit=99)} together{where}"


def _use(absent: str | None) -> str:
    use, misuse = intended_use(absent), not_intended(absent)
    return f"## Intended use\n{use}\n\nNot intended: {'; '.join(misuse)}."


def _data(metrics: Mapping[str, Any]) -> str:
    lines = [
        "## Data",
        "| images | use | X-rays | of patients | CT slices | of patients |",
        "|---|---|---|---|---|---|",
    ]
    for row in data_facts(metrics):
        cells = [count(row[key]) for key in ("xray", "xray_patients", "ct", "ct_patients")]
        lines.append(f"| {row['images']} | {row['use']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(entry: Mapping[str, Any], metrics: Mapping[str, Any], tasks: Sequence[tuple[str, str, str, str]]) -> str:
    evaluation = entry["evaluation"]
    if evaluation is None:
        return "## Scores\n\nThis model was not tested: it is not the selected one, or the run did not end."
    names = shown_in("card", CLASS_METRICS)
    shown = [CLASS_METRICS[name] for name in names]
    lines = [
        "## Scores on the central test images",
        "95 % intervals resample patients. \\* fewer than ten images with it or without it: descriptive only.",
        "",
        f"| | positives | {' | '.join(metric.also or metric.words for metric in shown)} |",
        "|---|---|" + "---|" * len(shown),
    ]
    for _, task, group, word in tasks:
        for name, row in evaluation[task][group].items():
            star = "\\*" if row.get("descriptive") else ""
            cells = [_cell(row, key) for key in names]
            known = row.get("known", at(metrics, "test", "cancer", "known"))
            lines.append(f"| {name}{star} | {count(row.get('support'))} of {count(known)} | {' | '.join(cells)} |")
        cells = [_cell(evaluation[task]["macro"], key) for key in names]
        lines.append(f"| mean over {word} | | {' | '.join(cells)} |")
    if any(modality == "ct" for modality, *_ in tasks):
        accuracy = evaluation["cancer"]["accuracy"]
        lines += ["", f"CT accuracy: {figure(accuracy['value'])}{_range(accuracy['interval'])}."]
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], key: str) -> str:
    found = row.get(key) or {}
    return f"{figure(found.get('value'))}{'' if row.get('descriptive') else _range(found.get('interval'))}"


def _range(low_high: Sequence[float] | None) -> str:
    return f" ({interval(low_high)})" if low_high else ""


def _operating(entry: Mapping[str, Any], tasks: Sequence[tuple[str, str, str, str]]) -> str:
    points = entry["operating_points"]
    if points is None:
        return ""
    labels = [one for _, task, *_ in tasks for one in points[task].items()]
    lines = [
        "## Thresholds and calibration",
        f"Chosen on the {points['split']} images of {points['site']}; they hold for calibrated probabilities.",
        "",
        "| | threshold | chosen by | logit slope | intercept | from positives, negatives |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in labels:
        lines.append(
            f"| {name} | {figure(label['threshold'])} | {label['method']} | {label['slope']:.3f} | "
            f"{label['intercept']:.3f} | {label['positives']}, {label['negatives']} |"
        )
    reasons = [f"{name}: {reason}" for name, label in labels for reason in label["reasons"]]
    if any(modality == "ct" for modality, *_ in tasks):
        lines += ["", f"Temperature of the CT classes: {points['cancer_temperature']:.3f}."]
    return "\n".join([*lines, *(["", *(f"- {reason}" for reason in reasons)] if reasons else [])])


def _calibration(metrics: Mapping[str, Any]) -> str:
    calibration = at(metrics, "test", "calibration")
    if not calibration:
        return ""
    lines = ["| calibration error on the test images | before | after |", "|---|---|---|"]
    rows = [*calibration["after"]["disease"]]
    for name in rows:
        lines.append(
            f"| {name} | {figure(at(calibration, 'before', 'disease', name, 'ece'))} | "
            f"{_ece(calibration['after']['disease'][name])} |"
        )
    if calibration["after"]["cancer"]:
        lines.append(
            f"| CT classes, most probable | {figure(at(calibration, 'before', 'cancer', 'ece'))} | "
            f"{_ece(calibration['after']['cancer'])} |"
        )
    return "\n".join(lines)


def _ece(row: Mapping[str, Any]) -> str:
    return f"{figure(row['ece'])}{_range(row['ece_interval'])}"


def _hospitals(metrics: Mapping[str, Any], absent: str | None) -> str:
    tested = hospital_facts(metrics)
    if not tested:
        return ""
    columns = [
        (title, key)
        for modality, title, key in (
            ("xray", "X-ray ROC-AUC", "disease_roc_auc"),
            ("ct", "CT ROC-AUC", "cancer_roc_auc"),
            ("ct", "CT accuracy", "cancer_accuracy"),
        )
        if modality != absent
    ]
    lines = [
        "## Scores at the hospitals",
        "The selected model on each hospital's own test images.",
        "",
        f"| hospital | {' | '.join(title for title, _ in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for name, figures in tested.items():
        lines.append(f"| {name} | {' | '.join(figure(figures[key]) for _, key in columns)} |")
    return "\n".join(lines)


def _subgroups(metrics: Mapping[str, Any]) -> str:
    """ROC-AUC of each group beside that of all others; groups of few patients are hidden in the metrics already."""
    rows = []
    for task, title in TASKS:
        rows += _group_rows(title, of_task(metrics, task))
        for site, found in of_hospitals(metrics, task).items():
            rows += _group_rows(f"{title}, {site}", found or {})
    if not rows:
        return "## Scores by subgroup\n\nNot measured: the test images tell neither sex, age, view nor scanner."
    return "\n".join(
        [
            "## Scores by subgroup",
            "Mean ROC-AUC over the labels with ten positives and ten negatives in the group and among the others. A "
            "gap does not tell its cause. Hospitals: their own test images, from counts of scores. With a hospital's "
            "name: groups of its own test images beside the others there.",
            "",
            "| | group | images | ROC-AUC | others | gap (95 %) |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _group_rows(title: str, found: Mapping[str, Any]) -> list[str]:
    rows = []
    for attribute, described in found.items():
        for name, group in described["groups"].items():
            value = at(group, "mean", "roc_auc") or {}
            gap = value.get("gap")
            told = "not compared" if gap is None else f"{signed(gap)}{_gap_range(value['gap_interval'])}"
            rows.append(
                f"| {title} | {TITLES[attribute]} {name} | {count(group.get('images'))} | "
                f"{figure(value.get('value'))} | {figure(value.get('others'))} | {told} |"
            )
    return rows


def _gap_range(low_high: Sequence[float] | None) -> str:
    return f" ({signed(low_high[0])} to {signed(low_high[1])})" if low_high else ""


def _limits(entry: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    return "\n".join(["## Limits", *(f"- {text}" for text in limits(entry["evaluation"], metrics))])
