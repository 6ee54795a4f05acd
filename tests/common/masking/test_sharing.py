"""Secrets in shares."""

import contextlib
import itertools
from collections import Counter

import pytest

from fedthorax.common.masking import sharing
from fedthorax.common.masking.sharing import combine, split

SECRET = bytes(range(32))


@pytest.mark.parametrize(("points", "threshold"), [(1, 1), (3, 3), (5, 4), (50, 34)])
def test_any_set_of_as_many_shares_as_the_threshold_gives_the_secret(points, threshold):
    shares = dict(enumerate(split(SECRET, points, threshold), 1))
    for chosen in itertools.islice(itertools.combinations(shares, threshold), 5):
        assert combine({point: shares[point] for point in chosen}, threshold) == SECRET


def test_too_few_shares_are_refused():
    shares = dict(enumerate(split(SECRET, 5, 4), 1))
    del shares[1], shares[2]
    with pytest.raises(ValueError, match="3 shares; 4 are needed"):
        combine(shares, 4)


def test_one_share_too_few_fits_every_secret_equally_often(monkeypatch):
    """Exhaustively, over a small prime: of three shares, any two."""
    monkeypatch.setattr(sharing, "PRIME", 7)
    seen = Counter()
    for secret, *drawn in itertools.product(range(7), repeat=3):
        random = iter(drawn)
        monkeypatch.setattr(sharing.secrets, "randbelow", lambda prime, random=random: next(random))
        shares = split(secret.to_bytes(32), 3, 3)
        for one, other in itertools.combinations(range(3), 2):
            seen[one, other, shares[one], shares[other], secret] += 1
    assert len(seen) == 3 * 7**3
    assert set(seen.values()) == {1}


def test_a_share_of_another_secret_spoils_what_comes_out():
    shares = dict(enumerate(split(SECRET, 4, 3), 1)) | {2: split(bytes(32), 4, 3)[1]}
    found = None
    with contextlib.suppress(ValueError):  # mostly a number that is no secret at all
        found = combine(shares, 3)
    assert found != SECRET
