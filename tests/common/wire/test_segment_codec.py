"""Packing and unpacking: without loss, or within the stated bound; what is damaged is refused."""

import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedthorax.common.wire.pack import read_packs, write_pack
from fedthorax.common.wire.rounding import BLOCK, LEVELS, STEPS, restore, round_off
from fedthorax.common.wire.segment import LOSSY, base_of, pack_exactly, pack_rounded, pack_whole, unpack

BASE = "b" * 64
floats = st.floats(-(2.0**20), 2.0**20, width=32)
any_bits = st.integers(0, 2**32 - 1)


def vector(*values):
    return np.array(values, np.float32)


def given_base(values):
    return lambda sha256: values if sha256 == BASE else None


def updates(seed: int, size: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Weights before and after a few steps: changes of very different sizes, some none at all."""
    rng = np.random.default_rng(seed)
    before = rng.normal(0, 0.05, size).astype(np.float32)
    scale = np.repeat(10.0 ** rng.uniform(-6, -2, -(-size // 100)), 100)[:size]
    after = before + (rng.standard_t(3, size) * scale).astype(np.float32)
    after[: size // 10] = before[: size // 10]
    return before, after.astype(np.float32)


@given(st.lists(st.tuples(any_bits, any_bits), max_size=600))
@settings(deadline=None)
def test_without_loss_every_bit_comes_back_whatever_it_stands_for(pairs):
    values, base = (np.array([pair[i] for pair in pairs], np.uint32).view(np.float32) for i in (0, 1))
    for packed in (pack_whole(values), pack_exactly(values, base, BASE)):
        found = unpack(packed, given_base(base), values.size)
        assert found.dtype == np.float32
        assert found.tobytes() == values.tobytes()


@pytest.mark.parametrize("codec", LOSSY)
@given(st.lists(floats, min_size=1, max_size=700))
@settings(deadline=None)
def test_every_rounded_value_is_within_the_stated_bound(codec, values):
    levels, given_values = LEVELS[codec], np.array(values, np.float32)
    error = np.abs(restore(*round_off(given_values, levels)) - given_values)
    for start in range(0, given_values.size, BLOCK):
        block = given_values[start : start + BLOCK].astype(np.float64)
        largest, rms = np.abs(block).max(), np.sqrt(np.square(block).sum() / BLOCK)
        step = max(2**0.25 * max(largest / levels.largest, levels.share * rms), STEPS[0])
        assert error[start : start + BLOCK].max() <= 0.5 * step * (1 + 1e-6)


@pytest.mark.parametrize("codec", LOSSY)
def test_what_is_read_and_what_is_left_make_up_what_was_to_be_sent(codec):
    before, after = updates(1)
    packed = pack_rounded(codec, after, before, BASE, [], None)
    assert unpack(packed.pack, given_base(before), before.size).tobytes() == packed.values.tobytes()
    np.testing.assert_allclose(packed.values + packed.residual.astype(np.float64), after, rtol=0, atol=1e-9)
    assert np.abs(packed.residual).max() > 0


@pytest.mark.parametrize("codec", LOSSY)
def test_nothing_is_lost_for_good_over_many_differences(codec):
    target = updates(2)[1]
    known, residual, total = np.zeros_like(target), None, np.zeros(target.size)
    for number in range(1, 9):
        wanted = known + target  # the same change again and again
        packed = pack_rounded(codec, wanted, known, BASE, [], residual)
        known, residual = packed.values, packed.residual
        total += target
        tolerance = 2e-6 * number * np.abs(target).max()
        np.testing.assert_allclose(known + residual.astype(np.float64), total, rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("codec", LOSSY)
def test_runs_that_are_to_stay_exact_come_with_every_bit(codec):
    before, after = updates(3, 1500)
    exact = [(0, 7), (600, 900), (1499, 1500)]
    packed = pack_rounded(codec, after, before, BASE, exact, None)
    found = unpack(packed.pack, given_base(before), before.size)
    assert found.tobytes() == packed.values.tobytes()
    for start, stop in exact:
        assert found[start:stop].tobytes() == after[start:stop].tobytes()
        assert not packed.residual[start:stop].any()
    assert (found[7:600] != after[7:600]).any()


def test_a_segment_of_which_everything_is_exact_or_nothing_is_there():
    for values in (vector(1, 2, 3), vector()):
        packed = pack_rounded(
            "int4", values, np.zeros_like(values), BASE, [(0, values.size)] if values.size else [], None
        )
        assert unpack(packed.pack, given_base(np.zeros_like(values)), values.size).tolist() == values.tolist()


def test_differences_are_packed_alike_in_whatever_process():
    before, after = updates(4)
    one, other = (pack_rounded("int4", after.copy(), before.copy(), BASE, [(3, 9)], None) for _ in range(2))
    assert one.pack.tobytes() == other.pack.tobytes()


def test_four_bits_take_less_than_three_and_unchanged_weights_next_to_nothing():
    rng = np.random.default_rng(5)
    before = rng.normal(0, 0.05, 100_000).astype(np.float32)
    after = before + rng.normal(0, 1e-4, before.size).astype(np.float32)
    assert pack_rounded("int4", after, before, BASE, [], None).pack.size < 0.28 * before.size
    assert pack_rounded("int8", after, before, BASE, [], None).pack.size < 0.8 * before.size
    assert pack_exactly(after, before, BASE).size < 3 * before.size
    assert pack_rounded("int4", before, before, BASE, [], None).pack.size < 600


def test_several_differences_lead_from_an_older_base_to_the_newest_segment():
    first, second = updates(6)
    third = second + np.float32(0.01)
    chain = np.concatenate([pack_exactly(second, first, "1" * 64), pack_exactly(third, second, "2" * 64)])
    held = {"1" * 64: first, "2" * 64: second}
    assert unpack(chain, held.get, third.size, 2).tobytes() == third.tobytes()
    del held["1" * 64]  # the newer base is enough
    assert unpack(chain, held.get, third.size, 2).tobytes() == third.tobytes()
    with pytest.raises(LookupError, match="none of the bases 111111111111, 222222222222 is here"):
        unpack(chain, {}.get, third.size, 2)
    assert base_of(chain) == "1" * 64


@pytest.mark.parametrize("codec", LOSSY)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e9])
def test_an_update_that_is_not_finite_or_too_large_is_not_rounded(codec, bad):
    after = vector(*range(10))
    after[4] = bad
    with pytest.raises(ValueError, match="values must be finite and at most"):
        pack_rounded(codec, after, np.zeros_like(after), BASE, [], None)


def damaged(change):
    before, after = updates(7, 300)
    data = bytearray(pack_rounded("int4", after, before, BASE, [(0, 9)], None).pack.tobytes())
    return np.frombuffer(bytes(change(data)), np.uint8), before


def flipped(at):
    def change(data):
        data[at] ^= 1
        return data

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: b"", "expected a packed segment, got nothing"),
        (lambda data: b"PK\x03\x04" + data, r"at byte 0: expected a packed segment \(FTXPACK1\), got b'PK"),
        (lambda data: data[:12], "at byte 0: cut short, 12 of at least 20 bytes came"),
        (lambda data: data[:-1], "at byte 0: cut short, "),
        (lambda data: data + b"x", r"at byte \d+: expected a packed segment"),
        (flipped(9), "at byte 0: damaged, its checksum is"),
        (flipped(30), "at byte 0: damaged, its checksum is"),
        (flipped(-1), "at byte 0: damaged, its checksum is"),
    ],
)
def test_what_is_damaged_is_refused_with_the_place(change, words):
    data, before = damaged(change)
    with pytest.raises(ValueError, match=words):
        unpack(data, given_base(before), before.size)


@given(st.integers(0, 10_000), st.integers(0, 255))
@settings(deadline=None)
def test_any_byte_that_is_changed_is_noticed(where, value):
    before, after = updates(8, 300)
    data = bytearray(pack_rounded("int8", after, before, BASE, [(0, 9)], None).pack.tobytes())
    where %= len(data)
    if data[where] != value:
        data[where] = value
        with pytest.raises(ValueError, match=r"damaged|cut short|expected a packed segment"):
            unpack(np.frombuffer(bytes(data), np.uint8), given_base(before), before.size)


ZEROS = bytes(8)


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (("zip", 2, "", [(0, 2)], [ZEROS]), "expected lossless, int8, int4, got a segment packed as 'zip'"),
        (("lossless", 2, "", [(0, 1)], [ZEROS]), "a lossless segment has one part that holds all values"),
        (("lossless", 2, "", [(0, 2)], [bytes(9)]), "a part holds 9 bytes, expected 8"),
        (("lossless", 3, BASE, [(0, 3)], [ZEROS]), "a pack of 3 values, expected 2"),
        (("lossless", 2, "", [(0, 2)], [ZEROS] * 4), "it has 4 parts, expected at most 3"),
        (("lossless", 2, "", [(1, 5)], [ZEROS]), "its exact values 1 to 5 are not in order, or not among 2"),
        (("lossless", 2, "", [(1, 2), (0, 1)], [ZEROS]), "its exact values 0 to 1 are not in order"),
        (("lossless", 2**40, "", [], [ZEROS]), "expected a whole number from 0 to 268435456, got 1099511627776"),
        (("int4", 2, "", [], [ZEROS]), "a segment packed as int4 is a difference in three parts"),
        (("int4", 2, BASE, [], [b"", b"\x00", b"\x00"]), "a code is -8, expected at least -7"),
        (("int8", 2, BASE, [], [b"", b"\x00", b"\x80\x00"]), "a code is -128, expected at least -127"),
        (("int8", 2, BASE, [], [b"", b"\x00\x00", b"\x01\x00"]), "a part holds 2 bytes, expected 1"),
    ],
)
def test_a_pack_that_is_whole_and_means_nothing_is_refused(pack, words):
    with pytest.raises(ValueError, match=words):
        unpack(write_pack(*pack), given_base(vector(0, 0)), 2)


def test_a_part_that_claims_to_be_small_and_is_not_zstandard_is_refused():
    pack = write_pack("lossless", 2, "", [(0, 2)], [ZEROS])
    broken = pack.tobytes().replace(bytes(next(read_packs(pack)).body), b"x" * len(next(read_packs(pack)).body))
    broken = broken[:8] + zlib.crc32(broken[12:]).to_bytes(4, "little") + broken[12:]
    with pytest.raises(ValueError, match="a part cannot be expanded"):
        unpack(np.frombuffer(broken, np.uint8), {}.get, 2)


def test_a_base_of_another_size_is_refused():
    with pytest.raises(ValueError, match="a difference of 2 values to a base of 3"):
        unpack(write_pack("lossless", 2, BASE, [(0, 2)], [ZEROS]), given_base(vector(0, 0, 0)), 2)


def test_a_header_as_large_as_a_segment_is_refused():
    pack = write_pack("lossless", 1 << 16, "", [(0, 1)] * 12_000, [ZEROS])
    with pytest.raises(ValueError, match=r"a header of \d+ bytes; at most 65536 are read"):
        unpack(pack, {}.get, 1 << 16)


def test_a_header_of_many_levels_does_not_go_down_with_them():
    header, body = b"[" * 60_000, b""
    rest = np.array([len(header), len(body)], "<u4").tobytes() + header
    pack = b"FTXPACK1" + zlib.crc32(rest).to_bytes(4, "little") + rest
    with pytest.raises(ValueError, match="its header cannot be read"):
        unpack(np.frombuffer(pack, np.uint8), {}.get, 2)


MB = 1 << 20


def grows(data: np.ndarray, size: int, words: str) -> tuple[float, float]:
    """Memory in MB by which the process grew at most while it refused the packed segment, and seconds of processor."""
    begun = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            unpack(data, {}.get, size)
        return tracemalloc.get_traced_memory()[1] / MB, time.process_time() - begun
    finally:
        tracemalloc.stop()


def test_eight_kib_that_stand_for_a_gib_are_refused_without_being_expanded():
    """128 MB of zeros are enough to see it: the pack has 5 KB, the segment may have 1000 values."""
    values = 1 << 25
    pack = write_pack("lossless", values, "", [(0, values)], [bytes(4 * values)])
    assert len(pack) < 32_768
    memory, _ = grows(pack, 1000, "a pack of 33554432 values, expected 1000")
    assert memory < 1


def test_a_pack_whose_parts_hold_more_than_it_says_is_refused_without_being_expanded():
    pack = write_pack("lossless", 1000, "", [(0, 1000)], [bytes(128 * MB)])
    memory, _ = grows(pack, 1000, "a part holds 134217728 bytes, expected 4000")
    assert memory < 1


def test_an_update_of_sixty_packs_is_refused_at_the_second():
    pack = write_pack("lossless", 1 << 20, "", [(0, 1 << 20)], [bytes(4 * MB)])
    memory, seconds = grows(np.tile(pack, 60), 1 << 20, "more than 1 packs")
    assert memory < 1
    assert seconds < 1


def test_more_bytes_than_the_segment_can_take_are_not_even_looked_at():
    memory, _ = grows(np.zeros(80_000, np.uint8), 1000, "80000 bytes for 1000 values; at most 69598 are read")
    assert memory < 1


def test_values_that_do_not_pack_at_all_still_have_room():
    values = np.random.default_rng(9).integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    assert unpack(pack_whole(values), {}.get, values.size).tobytes() == values.tobytes()
