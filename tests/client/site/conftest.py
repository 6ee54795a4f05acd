"""A small hospital for the tests of this folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedthorax.client.site.settings import SiteSettings
from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.travelling import travelling
from fedthorax.common.messages.message import Task
from fedthorax.common.messages.tasks import TASKS

from ...told import outcome


def settings(**changes: Any) -> SiteSettings:
    facts = {"name": "north", "consortium": "net", "server": "localhost:8443", "xray": "/img/xray", "ct": "/img/ct"}
    return SiteSettings.model_validate({**facts, **changes})


def task(experiment: Experiment, kind: Any = "train", **changes: Any) -> Task:
    facts: dict[str, Any] = {"site": "north", "round": 1, "run": "r1"} | changes
    if kind == "train":
        facts = {"learning_rate": 1e-3} | facts
    if kind == "finish":
        facts["outcome"] = outcome(experiment)
    return TASKS[kind](experiment=experiment.model_dump_json(), **facts)


@pytest.fixture
def experiment(experiment_file: Callable[..., Path]) -> Experiment:
    """As it travels: nobody's folders are in it."""
    return travelling(load_experiment(experiment_file()))
