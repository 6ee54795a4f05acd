"""metrics.json in the form of an older version, which is completed when it is read: a test says what it is about."""

from typing import Any


def partial_run(**changes: Any) -> dict[str, Any]:
    """Of a simulation that has only begun."""
    return {
        "schema_version": 2,
        "name": "tiny",
        "run": "0" * 32,
        "mode": "simulate",
        "status": "running",
        "seed": 0,
        "strategy": "fedavg",
        "config_sha256": "ab",
        "started": "2026-11-28T12:00:00+00:00",
        "selection": {"metric": "loss"},
        "stopped_early": False,
        "totals": {"bytes_sent": 0, "bytes_received": 0},
        **changes,
    }


def partial_round(number: int, **changes: Any) -> dict[str, Any]:
    return {"round": number, "bytes_sent": 0, "bytes_received": 0, **changes}


def central_test(**changes: Any) -> dict[str, Any]:
    """Test scores of no image, but for the changes."""
    return {"round": 1, "patients": {"xray": 9, "ct": 9}, "disease": {}, "cancer": {}, **changes}


def intervals(disease: dict[str, Any], cancer: dict[str, Any]) -> dict[str, Any]:
    drawn = {"samples": 30, "level": 0.95}
    return {"disease": {**drawn, **disease}, "cancer": {**drawn, **cancer}}
