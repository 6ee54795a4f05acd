"""A whole record of a run of one hospital and one round, with scores that were computed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ...heads import cancer_scores, disease_scores


def a_run(**changes: Any) -> dict[str, Any]:
    """Of the finding the ROC-AUC is 0.75 and F1 undefined; no CT slice has a known class."""
    truth, score = np.array([[1.0], [0.0], [0.0]]), np.array([[0.4], [0.4], [0.1]])
    scores = {
        "loss": np.float32(0.5),
        "disease_loss": 0.25,
        "cancer_loss": None,
        "disease": disease_scores(truth, score, ("Mass",), 0.5),
        "cancer": cancer_scores(np.array([-1]), np.array([[0.5, 0.5]]), ("normal", "tumour")),
    }
    train = {"loss": 0.5, "disease_loss": 0.5, "cancer_loss": None, "pairs": 7, "steps": 1, "epochs": 1, "seconds": 2.0}
    nothing = {"failures": [], "late": [], "warnings": [], "seconds": 1.5, "bytes_sent": 0, "bytes_received": 0}
    phase = {"index": 0, "trainable": "heads", "learning_rate": 1e-3, "local_epochs": 1}
    site = {"train": train, "valid": None, "update_norm": 0.5}
    kinds = ("data", "fingerprint", "software_version", "egress_head", "test", "test_with_duplicates")
    kinds += ("test_at_own_thresholds",)
    return {
        "schema_version": 3,
        "name": "demo",
        "run": "run-1",
        "mode": "simulate",
        "status": "running",
        "error": None,
        "seed": 0,
        "strategy": "fedavg",
        "config_sha256": "ab",
        "started": "2026-11-28T12:00:00+00:00",
        "finished": None,
        "resumed": [],
        "versions": {"python": "3.11"},
        "labels": {"findings": ["Mass"], "cancer_classes": ["normal", "tumour"]},
        "sites": {"Nord": dict.fromkeys((*kinds, "operating_points", "subgroups", "personal"))},
        "central": {"data": None, "fingerprint": None, "left_out": []},
        "statistics": None,
        "rounds": [
            {"round": 0, "phase": None, "central": scores, "sites": {}, **nothing},
            {"round": 1, "phase": phase, "central": scores, "sites": {"Nord": site}, **nothing},
        ],
        "best_round": None,
        "selection": {"metric": "mean_roc_auc", "value": None},
        "stopped_early": False,
        "operating_points": None,
        "test": None,
        "test_with_duplicates": None,
        "pooled": None,
        "totals": {
            "seconds": None,
            "bytes_sent": 0,
            "bytes_received": 0,
            "peak_memory_mb": {"server": None, "sites": None},
        },
        **changes,
    }


@pytest.fixture
def run_document() -> Callable[..., dict[str, Any]]:
    return a_run
