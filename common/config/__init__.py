"""The experiment: one YAML file, parsed once at the edge into frozen models."""

from fedthorax.common.config.experiment import Experiment

__all__ = ["Experiment"]
