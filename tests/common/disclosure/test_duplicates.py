import stat

import pytest

from fedthorax.common.disclosure.duplicates import KINDS, new_key, read_key, shared_images
from fedthorax.common.disclosure.duplicates import tokens as tokens_of

KEY, NONCE = bytes(32), b"query 1"


def tokens(key, nonce, xray, ct):
    """Of digests of X-rays and CT slices; what is alike is given to the X-rays' digests only."""
    return tokens_of(key, nonce, {"xray": xray, "ct": ct, "xray_alike": xray, "ct_alike": []})


def test_equal_images_give_equal_hashes_under_one_key_and_query_only():
    def hashes(key, nonce):
        return set(tokens(key, nonce, ["a", "b"], []).xray)

    assert len(hashes(KEY, NONCE) & hashes(KEY, NONCE)) == 2
    assert not hashes(KEY, NONCE) & hashes(bytes([1] * 32), NONCE)
    assert not hashes(KEY, NONCE) & hashes(KEY, b"query 2")


def test_an_image_as_x_ray_is_not_the_same_as_a_slice():
    told = tokens(KEY, NONCE, ["a"], ["a"])
    assert not set(told.xray) & set(told.ct)
    assert not set(told.xray) & set(told.xray_alike)


@pytest.mark.parametrize(("images", "length"), [(0, 0), (1, 100), (100, 100), (101, 200)])
def test_the_number_of_hashes_does_not_tell_the_number_of_images(images, length):
    told = tokens(KEY, NONCE, [str(number) for number in range(images)] * 2, [])
    assert len(told.xray) == length
    assert list(told.xray) == sorted(told.xray)


def test_hashes_do_not_hold_the_digests():
    assert not any("abcdef" in token for token in tokens(KEY, NONCE, ["abcdef"], []).xray)


def test_shared_images_are_counted_for_every_pair():
    sites = {
        "north": tokens(KEY, NONCE, ["a", "b", "c"], ["x"]),
        "south": tokens(KEY, NONCE, ["b", "c", "c"], ["x"]),
        "east": tokens(KEY, NONCE, ["d"], []),
    }
    assert shared_images(sites) == [
        {"sites": ["north", "south"], "xray": 2, "ct": 1, "xray_alike": 2, "ct_alike": 0, "reason": None},
        {"sites": ["north", "east"], **dict.fromkeys(KINDS, 0), "reason": None},
        {"sites": ["south", "east"], **dict.fromkeys(KINDS, 0), "reason": None},
    ]


def test_hospitals_without_a_common_key_are_not_compared_and_never_said_to_share_nothing():
    sites = {"north": tokens(KEY, NONCE, ["a"], []), "south": tokens(bytes([7] * 32), NONCE, ["a"], []), "east": None}
    reasons = {tuple(entry["sites"]): (entry["xray"], entry["reason"]) for entry in shared_images(sites)}
    assert reasons["north", "south"] == (None, "the two hospitals have different duplicate keys")
    assert reasons["north", "east"] == (None, "no hashes from east")


def test_a_new_key_is_read_back_and_belongs_to_its_owner(tmp_path):
    path = new_key(tmp_path / "key")
    assert len(read_key(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_key(new_key(tmp_path / "other")) != read_key(path)
    with pytest.raises(FileExistsError):
        new_key(path)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"short\n", 0o600, "expected 64 hexadecimal digits.*5 characters"),
        (b"\xff" * 64, 0o600, "expected 64 hexadecimal digits"),
        (b"a" * 64, 0o604, "other users may read or change it; run chmod 600"),
        (b"a" * 64, 0o660, "other users may read or change it"),
    ],
)
def test_a_key_that_does_not_protect_is_refused(tmp_path, content, mode, words):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ValueError, match=words):
        read_key(path)


def test_a_missing_key_says_whom_to_ask(tmp_path):
    with pytest.raises(OSError, match=r"No such file.*ask the consortium's hospitals"):
        read_key(tmp_path / "none")
