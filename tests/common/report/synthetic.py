"""Invented metrics of a run, complete and consistent, for looking at the report and for its tests."""

import copy
import functools
import math

import numpy as np

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.metrics.hospital_gap import hospital_gaps
from fedthorax.common.metrics.operating import choose_operating_points
from fedthorax.common.metrics.score_histogram import pooled, pooled_figures, score_histogram
from fedthorax.common.records.records import Attributes

from ...heads import (
    bootstrap_cancer,
    bootstrap_disease,
    cancer_answers,
    cancer_calibration,
    cancer_curves,
    cancer_scores,
    disease_answers,
    disease_calibration,
    disease_curves,
    disease_scores,
    subgroup_scores,
)

FINDINGS = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
]
PREVALENCE = [0.16, 0.07, 0.09, 0.05, 0.17, 0.06, 0.03, 0.004, 0.22, 0.10, 0.11, 0.06, 0.03, 0.08]
CLASSES = ["adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma"]
SITES = ("Nordklinik", "St. Anna", "University Hospital South")


PRIVACY = {  # of a run with differential privacy of patients
    "mechanism": "distributed", "epsilon": 8.0, "delta": 1e-4, "clip": 0.1, "sampling_rate": 1.0, "steps": 30,
    "images_per_patient": 4, "patients": 480, "colluding": 1, "noise": 2.975, "shared": 2,
    "accountant": "dp-accounting 0.6.0", "steps_taken": {"north": 20}, "spent": {"north": 6.31},
}  # fmt: skip


def run_metrics(sites=SITES, num_rounds=10, seed=1, **changes):
    """Metrics as ``docs/metrics.md`` describes them; ``changes`` replace top-level parts."""
    rng = np.random.default_rng(seed)
    # the site figures are of one round only and then moved a little, so that large runs are made quickly
    template = scores(rng, 80, 60, 0.6)[0]
    best = max(0, num_rounds - 2)
    return {
        "schema_version": 2,  # which is completed when it is read
        "name": "three-hospitals",
        "run": "0" * 32,
        "strategy": "fedavg",
        "mode": "simulate",
        "status": "finished",
        "error": None,
        "seed": 7,
        "config_sha256": "3fb1c4a2" * 8,
        "started": "2025-03-04T09:12:00+00:00",
        "finished": "2025-03-04T10:01:30+00:00",
        "versions": {"python": "3.11.9", "flwr": "1.41.0", "tensorflow": "2.21.0", "keras": "3.15.0"},
        "labels": {"findings": FINDINGS, "cancer_classes": CLASSES},
        "sites": {name: hospital(rng, template, number) for number, name in enumerate(sites)},
        "central": {
            "data": passport(rng, train=0, valid=100, test=240),
            "left_out": [
                {"file": "ct/test/normal/7 (2).png", "split": "test", "modality": "ct", "same_as_site": sites[0]}
            ],
        },
        "rounds": [one_round(number, num_rounds, sites, template, rng) for number in range(num_rounds + 1)],
        "best_round": best,
        "selection": {"metric": "mean_roc_auc", "value": 0.8127},
        "stopped_early": False,
        **tested(best),
        "pooled": pooled_scores(sites),
        "totals": {
            "seconds": 2970.4,
            "bytes_sent": 1_512_000_000,
            "bytes_received": 1_498_000_000,
            "peak_memory_mb": {"server": 2210.0, "sites": 3150.5},
        },
        **changes,
    }


_final_scores = functools.cache(lambda: scores(np.random.default_rng(1), 240, 180, 0.75, full=True))


def tested(best):
    """``test`` and ``operating_points``."""
    test, points = copy.deepcopy(_final_scores())
    return {
        "test": {**test, "patients": {"xray": 198, "ct": 180}, "round": best},
        "operating_points": {"round": best, **points.model_dump(mode="json")},
    }


def hospital(rng, template, number):
    """Every second hospital has images enough to choose thresholds of its own."""
    test = moved(template, rng, 0.7)
    points = _final_scores()[1].without_counts().model_dump(mode="json") if number % 2 == 0 else None
    return {
        "data": passport(rng),
        "test": test,
        "operating_points": points,
        "test_at_own_thresholds": points and moved(template, rng, 0.75),
        "subgroups": ({"disease": {}, "cancer": None}, copy.deepcopy(own_subgroups()))[number % 2 == 0],
    }


def pooled_scores(sites):
    """``pooled``: each hospital a little worse than the one before."""
    rng = np.random.default_rng(3)
    document = {"bins": 100, "by_site": {}}
    for task, labels in (("disease", FINDINGS), ("cancer", CLASSES)):
        told = {}
        for label in labels:
            told[label] = {}
            for number, name in enumerate(sites):
                truth = (rng.random(90) < 0.25).astype(float)
                logits = rng.normal(-1, 1, 90) + truth * (2 - 1.5 * number / len(sites))
                told[label][name] = score_histogram(truth, 1 / (1 + np.exp(-logits)), 100, 5)
        document[task] = {
            label: pooled_figures(pooled(list(of_label.values()))) | {"hospitals": list(sites)}
            for label, of_label in told.items()
        }
        document["by_site"][task] = hospital_gaps(told, labels)
    return document


def attributes_of(rng, number):
    """Of ``number`` images: nobody's sex is known of every tenth; few are lateral; one scanner is rare."""
    return [
        Attributes(
            sex=None if row % 10 == 0 else "F" if row % 3 else "M",
            age_years=float(rng.integers(15, 90)),
            view="LL" if row < 4 else "PA" if row % 2 else "AP",
            scanner="Siemens Fluorospot" if row % 3 else "Agfa DX" if row > 6 else "Rare One",
        )
        for row in range(number)
    ]


def scores(rng, num_xray, num_ct, skill, full=False):
    truth = (rng.random((num_xray, len(FINDINGS))) < PREVALENCE).astype(float)
    truth[0] = 0
    logits = rng.normal(-1.6, 1, truth.shape) + truth * rng.uniform(0, 2.4 * skill, len(FINDINGS))
    logits[:, 6] -= 9  # never predicted
    truth[rng.random(truth.shape) < 0.05] = math.nan
    logits = np.where(np.isnan(truth), 0.0, logits)
    probability = 1 / (1 + np.exp(-logits))
    classes = rng.integers(0, len(CLASSES), num_ct)
    class_logits = rng.normal(0, 1, (num_ct, len(CLASSES))) + 3 * skill * np.eye(len(CLASSES))[classes]
    class_probability = np.exp(class_logits) / np.exp(class_logits).sum(axis=1, keepdims=True)
    result = {
        "loss": 1.1,
        "disease_loss": 0.3,
        "cancer_loss": 0.8,
        "disease": disease_scores(truth, probability, FINDINGS, 0.5),
        "cancer": cancer_scores(classes, class_probability, CLASSES),
    }
    if full:
        patients = [f"p{index * 198 // num_xray}" for index in range(num_xray)]
        ct_patients = [f"c{index}" for index in range(num_ct)]
        result["intervals"] = {
            "disease": bootstrap_disease(truth, probability, patients, FINDINGS, 0.5, 400, 0),
            "cancer": bootstrap_cancer(classes, class_probability, ct_patients, CLASSES, 400, 0),
        }
        result["curves"] = {
            "disease": disease_curves(truth, probability, FINDINGS),
            "cancer": cancer_curves(classes, class_probability, CLASSES),
        }
        points = choose_operating_points(
            (truth, probability),
            (classes, class_probability),
            FINDINGS,
            CLASSES,
            EvaluationConfig(),
            "central",
            "valid",
        )
        calibrated = points.calibrated_disease(probability), points.calibrated_cancer(class_probability)
        result["calibration"] = {
            name: {
                "disease": disease_calibration(truth, of_findings, patients, FINDINGS, 10, 50, 0),
                "cancer": cancer_calibration(classes, of_classes, ct_patients, CLASSES, 10, 50, 0),
            }
            for name, (of_findings, of_classes) in (
                ("before", (probability, class_probability)),
                ("after", calibrated),
            )
        }
        of_findings = disease_answers(truth, probability, [0.3] * len(FINDINGS))
        result["subgroups"] = by_subgroup(rng, of_findings, patients, cancer_answers(classes, class_probability))
        return result, points
    return result, None


def by_subgroup(rng, disease, patients, cancer, guarded=False):
    policy = PrivacyConfig(smallest_count=5, round_to=5 if guarded else 1)
    scanners = [Attributes(scanner=one.scanner) for one in attributes_of(rng, len(cancer.known))]
    slices = [f"c{index}" for index in range(len(cancer.known))]
    rest = (50, 0, policy, guarded)
    return {
        "disease": subgroup_scores(disease, patients, attributes_of(rng, len(patients)), FINDINGS, *rest),
        "cancer": subgroup_scores(cancer, slices, scanners, CLASSES, *rest),
    }


@functools.cache
def own_subgroups():
    """Of a hospital that knows sex, age and view of 120 X-rays, and the scanner of 60 slices."""
    rng = np.random.default_rng(5)
    truth = (rng.random((120, len(FINDINGS))) < np.array(PREVALENCE) * 2).astype(float)
    probability = 1 / (1 + np.exp(-rng.normal(-1, 1, truth.shape) - 1.5 * truth))
    classes = rng.integers(0, len(CLASSES), 60)
    of_classes = cancer_answers(classes, rng.dirichlet([1] * len(CLASSES), 60))
    answers = disease_answers(truth, probability, [0.3] * len(FINDINGS))
    return by_subgroup(rng, answers, [f"p{index}" for index in range(120)], of_classes, guarded=True)


def moved(template, rng, quality):
    """A copy of the scores whose main figures follow ``quality`` (0 to 1) with some noise."""

    def noisy(low, high):
        return float(np.clip(low + (high - low) * quality + rng.normal(0, 0.012), 0, 1))

    disease, cancer = template["disease"], template["cancer"]
    return {
        **template,
        "loss": float(2.2 - 1.3 * quality + abs(rng.normal(0, 0.04))),
        "disease": {**disease, "macro": {**disease["macro"], "roc_auc": noisy(0.5, 0.72), "f1": noisy(0.05, 0.3)}},
        "cancer": {
            **cancer,
            "accuracy": noisy(0.25, 0.85),
            "macro": {**cancer["macro"], "roc_auc": noisy(0.5, 0.96)},
        },
    }


def one_round(number, num_rounds, sites, template, rng):
    quality = 1 - math.exp(-3 * number / max(num_rounds, 1))
    frozen = number <= 0.6 * num_rounds
    phase = {
        "index": 0 if frozen else 1,
        "trainable": "heads" if frozen else "all",
        "learning_rate": 1e-3 if frozen else 5e-5,
        "local_epochs": 3 if frozen else 1,
    }
    entry = {
        "round": number,
        "phase": None if number == 0 else phase,
        "central": moved(template, rng, quality),
        "sites": {},
        "failures": [],
        "seconds": 41.5 + number,
        "bytes_sent": 137_500_000,
        "bytes_received": 136_200_000,
    }
    for name in sites:
        failed = number == 4 and name == sites[-1] and len(sites) > 1
        train = {"loss": 2.0 - 1.4 * quality, "disease_loss": 0.2, "cancer_loss": 0.5, "pairs": 300, "steps": 19}
        train = {**train, "loss": train["loss"] + float(rng.normal(0, 0.03)), "epochs": 3, "seconds": 11.0}
        entry["sites"][name] = {
            "train": None if number == 0 or failed else train,
            "valid": None if failed else moved(template, rng, quality * 0.95),
        }
        if failed:
            entry["failures"].append({"site": name, "stage": "train", "reason": "no reply within 86400 s"})
    return entry


def passport(rng, train=300, valid=60, test=70):
    def split(images):
        return {
            "xray": images,
            "ct": int(images * 0.75),
            "xray_patients": int(images * 0.825),
            "ct_patients": int(images * 0.75),
        }

    uses = {"xray_uses": {"min": 1, "mean": 1.0, "max": 1}, "ct_uses": {"min": 1, "mean": 4 / 3, "max": 2}}
    return {
        "splits": {"train": split(train), "valid": split(valid), "test": split(test)},
        "skipped": [{"file": "xray/00012.png", "reason": "the file ends early"}] if train else [],
        "check": [],
        "notes": ["CT slices carry no patient id: every slice counts as a patient of its own."],
        "pairing": {"pairs": train, **uses, "same_patient_pairs": 0} if train else None,
    }
