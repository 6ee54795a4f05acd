import numpy as np
import pytest

from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.wire.segment import pack_exactly, pack_rounded, pack_whole
from fedthorax.server.claims import unpacked

from ..told import trained

MODEL = {"fusion": np.array([1, 2, 3], np.float32), "cancer": np.array([4], np.float32)}
SHA256 = {"fusion": "f" * 64, "cancer": "c" * 64}
AFTER = np.array([1, 2.5, 3], np.float32)


def update(**segments) -> TrainReply:
    return TrainReply(site="north", round=1, results=trained(3), **segments)


def reply(**packed: np.ndarray) -> TrainReply:
    return update(packed=packed)


def exact(base_sha256: str = SHA256["fusion"]) -> np.ndarray:
    return pack_exactly(AFTER, MODEL["fusion"], base_sha256)


def test_a_packed_update_becomes_weights():
    found = unpacked(reply(fusion=exact()), "lossless", MODEL, SHA256)
    assert found.packed == {}
    assert found.weights["fusion"].tolist() == AFTER.tolist()


def test_a_rounded_update_becomes_the_weights_that_the_hospital_knows_of():
    packed = pack_rounded("int4", AFTER, MODEL["fusion"], SHA256["fusion"], [], None)
    found = unpacked(reply(fusion=packed.pack), "int4", MODEL, SHA256)
    assert found.weights["fusion"].tobytes() == packed.values.tobytes()


def test_an_update_of_nothing_and_one_that_need_not_be_packed_stay_as_they_are():
    empty, plain = reply(), update(weights={"fusion": AFTER})
    assert unpacked(empty, "int4", MODEL, SHA256) is empty
    assert unpacked(plain, "float32", MODEL, SHA256) is plain


def damaged() -> np.ndarray:
    data = exact().copy()
    data[-3] ^= 8
    return data


@pytest.mark.parametrize(
    ("came", "words"),
    [
        (update(weights={"fusion": AFTER}), r"the update is not packed, expected lossless"),
        (reply(another=exact()), "the update holds an unknown segment 'another'"),
        (reply(fusion=damaged()), "segment fusion: at byte 0: damaged, its checksum is"),
        (reply(fusion=exact()[:30]), "segment fusion: at byte 0: cut short"),
        (reply(fusion=exact("0" * 64)), "segment fusion: it is the difference to another model than the one that was"),
        (reply(cancer=exact(SHA256["cancer"])), "segment cancer: a pack of 3 values, expected 1"),
        (
            reply(fusion=pack_rounded("int4", AFTER, MODEL["fusion"], SHA256["fusion"], [], None).pack),
            r"segment fusion: expected it packed as lossless \(federation.codec\), got int4",
        ),
        (
            update(weights={"fusion": AFTER}, packed={"fusion": exact()}),
            "the update holds fusion twice, packed and not packed",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(came, words):
    with pytest.raises(ValueError, match=words):
        unpacked(came, "lossless", MODEL, SHA256)


def test_a_whole_segment_is_read_without_a_base():
    assert unpacked(reply(fusion=pack_whole(AFTER)), "lossless", MODEL, SHA256).weights["fusion"].tolist() == [
        1,
        2.5,
        3,
    ]
