import copy

import pytest

from ...runs import partial_run
from . import synthetic

_finished = synthetic.run_metrics()


@pytest.fixture
def metrics():
    """A finished run of three hospitals and ten rounds in two phases, to be changed at will."""
    return copy.deepcopy(_finished)


@pytest.fixture
def begun():
    """A run that has only begun."""
    return partial_run()


@pytest.fixture(scope="session")
def run_metrics():
    return synthetic.run_metrics
