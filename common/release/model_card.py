"""The model card, Markdown for people; ``model.json`` holds the same for programs (card_facts.py).

Sections as in Mitchell et al., Model Cards for Model Reporting, FAT* 2019, as far as a run can fill them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fedthorax.common.ground.wording import bracketed, count, counted, figure, joined, moment
from fedthorax.common.metrics.figures import CLASS_METRICS, shown_in
from fedthorax.common.metrics.scores import TASKS, ClassMean, FindingMean, Row, Task
from fedthorax.common.record.modalities import TASK_OF, WORDS, lacking, without
from fedthorax.common.record.passport import Modality
from fedthorax.common.record.run import CentralTest, ChosenPoints, Run
from fedthorax.common.release.card_facts import data_facts, hospital_facts, intended_use, limits, not_intended
from fedthorax.common.report.subgroups import TITLES, Groups, of_hospitals, of_task, signed


def model_card(facts: Mapping[str, Any], entry: Mapping[str, Any], run: Run) -> str:
    """The card of one model: ``facts`` and ``entry`` of model.json, and its run, of which test and thresholds are those
    of the entry where it has any.

    Of a modality that nobody had, it says that and no more.
    """
    absent = lacking(run)
    run = without(run, absent)
    test = run.test if entry["evaluation"] is not None else None
    points = run.operating_points if entry["operating_points"] is not None else None
    tasks = [task for modality, task in TASK_OF.items() if modality != absent]
    parts = [
        f"# Model card: {facts['name']}",
        "**For research. Not a medical device; it must not guide diagnosis or treatment.**",
        _model(facts, entry, run, absent),
        f"## Intended use\n{intended_use(absent)}\n\nNot intended: {'; '.join(not_intended(absent))}.",
        _data(run),
        _scores(test, tasks),
        _operating(points, tasks),
        _calibration(test) if points else "",
        _hospitals(run, absent),
        _subgroups(run) if test else "",
        "\n".join(["## Limits", *(f"- {text}" for text in limits(run, test))]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _model(facts: Mapping[str, Any], entry: Mapping[str, Any], run: Run, absent: Modality | None) -> str:
    versions = facts.get("versions") or {}
    lines = [
        "## Model",
        f"- Run {run.name} ({run.run}), round {entry['round']}, trained {_how(run)}, {moment(run.started)}.",
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


def _how(run: Run) -> str:
    if run.mode == "train":
        return f"in one place on the images of {joined(list(run.sites))}"
    where = " (simulated on one machine)" if run.mode == "simulate" else ""
    return f"by {joined(list(run.sites), limit=99)} together{where}"


def _data(run: Run) -> str:
    lines = [
        "## Data",
        "| images | use | X-rays | of patients | CT slices | of patients |",
        "|---|---|---|---|---|---|",
    ]
    for row in data_facts(run):
        cells = [count(row[key]) for key in ("xray", "xray_patients", "ct", "ct_patients")]
        lines.append(f"| {row['images']} | {row['use']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(test: CentralTest | None, tasks: Sequence[Task]) -> str:
    if test is None:
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

    def cells(task: Task, scores: Row | FindingMean | ClassMean, label: str | None) -> str:
        few = getattr(scores, "descriptive", False)
        figures = [(getattr(scores, name), None if few else test.interval(task, name, label)) for name in names]
        return " | ".join(figure(value) + bracketed(low_high) for value, low_high in figures)

    for task in tasks:
        head = test.head(task)
        for name, row in head.rows.items():
            star = "\\*" if row.descriptive else ""
            known = count(head.known_of(name))
            lines.append(f"| {name}{star} | {count(row.support)} of {known} | {cells(task, row, name)} |")
        word = "findings" if task == "disease" else "classes"
        lines.append(f"| mean over {word} | | {cells(task, head.macro, None)} |")
    if "cancer" in tasks:
        accuracy = figure(test.cancer.accuracy) + bracketed(test.interval("cancer", "accuracy"))
        lines += ["", f"CT accuracy: {accuracy}."]
    return "\n".join(lines)


def _operating(points: ChosenPoints | None, tasks: Sequence[Task]) -> str:
    if points is None:
        return ""
    labels = [one for task in tasks for one in getattr(points, task).items()]
    lines = [
        "## Thresholds and calibration",
        f"Chosen on the {points.split} images of {points.site}; they hold for calibrated probabilities.",
        "",
        "| | threshold | chosen by | logit slope | intercept | from positives, negatives |",
        "|---|---|---|---|---|---|",
    ]
    for name, label in labels:
        lines.append(
            f"| {name} | {figure(label.threshold)} | {label.method} | {label.slope:.3f} | "
            f"{label.intercept:.3f} | {label.positives}, {label.negatives} |"
        )
    reasons = [f"- {name}: {reason}" for name, label in labels for reason in label.reasons]
    if "cancer" in tasks:
        lines += ["", f"Temperature of the CT classes: {points.cancer_temperature:.3f}."]
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def _calibration(test: CentralTest | None) -> str:
    if test is None or test.calibration is None:
        return ""
    before, after = test.calibration.before, test.calibration.after
    rows = [(name, before.disease[name], after.disease[name]) for name in test.disease.rows]
    if test.cancer.rows:
        rows.append(("CT classes, most probable", before.cancer, after.cancer))
    lines = ["| calibration error on the test images | before | after |", "|---|---|---|"]
    lines += [
        f"| {name} | {figure(old.ece)} | {figure(new.ece)}{bracketed(new.ece_interval)} |" for name, old, new in rows
    ]
    return "\n".join(lines)


def _hospitals(run: Run, absent: Modality | None) -> str:
    tested = hospital_facts(run)
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


def _subgroups(run: Run) -> str:
    """ROC-AUC of each group beside that of all others; groups of few patients are hidden in the metrics already."""
    rows = []
    for task, title in TASKS:
        rows += _group_rows(title, of_task(run, task))
        for site, found in of_hospitals(run, task).items():
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


def _group_rows(title: str, found: Groups) -> list[str]:
    rows = []
    for attribute, described in found.items():
        for name, group in described.groups.items():
            value = group.mean.roc_auc if group.mean else None
            told = "not compared"
            if value and value.gap is not None:
                told = signed(value.gap)
                if low_high := value.gap_interval:
                    told += f" ({signed(low_high[0])} to {signed(low_high[1])})"
            figures = f"{figure(value.value if value else None)} | {figure(value.others if value else None)}"
            rows.append(f"| {title} | {TITLES[attribute]} {name} | {count(group.images)} | {figures} | {told} |")
    return rows
