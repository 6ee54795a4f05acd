"""The main figures of a run for TensorBoard and MLflow, on this machine only."""

from fedthorax.server.tracking.tracking import Tracking, require_trackers

__all__ = ["Tracking", "require_trackers"]
