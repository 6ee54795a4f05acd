import gc

import pytest

from fedthorax.common.ground.machine import collector_off


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_nothing_is_collected_inside_and_what_is_there_afterwards_is_left_alone():
    with collector_off():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(kept)


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collector_off():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_import_that_fails_switches_the_collector_on_again():
    with pytest.raises(ImportError, match="no such library"), collector_off():
        raise ImportError("no such library")
    assert gc.isenabled()
