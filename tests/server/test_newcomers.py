import pytest

from fedthorax.server.newcomers import check_version


@pytest.mark.parametrize("site", ["0.1.0", "0.1.7", "0.1.0.dev3"])
def test_versions_that_differ_in_the_last_number_work_together(site):
    check_version(site, "0.1.2")


@pytest.mark.parametrize("site", ["0.2.0", "1.1.2", ""])
def test_other_versions_are_refused_in_words(site):
    with pytest.raises(ValueError, match=f"runs FedThorax {site}, but the server runs 0.1.2; install version 0.1"):
        check_version(site, "0.1.2")
