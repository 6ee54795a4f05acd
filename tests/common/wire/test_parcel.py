"""A message as bytes: made once, named by what it holds, and refused where it is not what its manifest says."""

import json

import numpy as np
import pytest

from fedthorax.common.wire.parcel import MOST_MANIFEST, Cargo, Parcel, pack_parcel, parcel_of, read_manifest

FUSION, PACKED = np.array([1.5, -2], np.float32), np.arange(3, dtype=np.uint8)
PARCEL = pack_parcel(b"text", Cargo.of({"disease": PACKED, "fusion": FUSION, "cancer": np.empty(0, np.float32)}))


def came(parcel: Parcel = PARCEL, **changes: bytes) -> Parcel:
    parts = {"manifest": parcel.manifest, "text": parcel.text, "data": parcel.joined()} | changes
    return parcel_of(**parts)


def test_what_is_packed_comes_out_again_with_floats_first_and_aligned() -> None:
    arrays = came().arrays()
    assert list(arrays) == ["fusion", "cancer", "disease"]
    assert [values.tolist() for values in arrays.values()] == [[1.5, -2.0], [], [0, 1, 2]]
    assert [str(values.dtype) for values in arrays.values()] == ["float32", "float32", "uint8"]
    assert arrays["fusion"].flags.aligned
    came().require_intact()


def test_the_address_names_text_and_segments_and_nothing_else() -> None:
    same = pack_parcel(b"text", Cargo.of({"fusion": FUSION.copy(), "disease": PACKED, "cancer": FUSION[:0]}))
    assert Parcel(same.manifest, same.text, same.data, "stamp").address == same.address
    others = [pack_parcel(b"texT", Cargo.of({"fusion": FUSION})), pack_parcel(b"text", Cargo.of({"fusion": -FUSION}))]
    assert len({other.address for other in others} | {same.address}) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": b"tex"}, "3 bytes of text; 4 were announced"),
        ({"data": PARCEL.joined() + b"x"}, "12 bytes of segments; 11 were announced"),
        ({"text": b"tExt"}, "the text has another hash than the manifest says"),
        ({"data": b"x" + PARCEL.joined()[1:]}, "segment fusion has another hash than the manifest says"),
        ({"data": PARCEL.joined()[:-1] + b"x"}, "segment disease has another hash than the manifest says"),
    ],
)
def test_other_bytes_than_the_manifest_names_are_refused(changes: dict[str, bytes], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        came(**changes).require_intact()


def manifest(**changes: object) -> bytes:
    entry = {"name": "fusion", "bytes": 8, "packed": False, "sha256": "0" * 64} | changes
    return json.dumps({"text_bytes": 4, "text_sha256": "0" * 64, "segments": [entry]}).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not a manifest: : Invalid JSON"),
        (b"[" * 1000, "not a manifest: .*recursion limit"),
        (b" " * (MOST_MANIFEST + 1), "a manifest of 65537 bytes; at most 65536 are read"),
        (b"{}", "not a manifest: text_bytes: Field required"),
        (manifest(bytes=7), "not a whole number of float32 values"),
        (manifest(bytes=-8), "segments.0.bytes: Input should be greater than or equal to 0"),
        (manifest(bytes=1e400), "segments.0.bytes"),
        (manifest(name="fusion\x1b[2J"), "segments.0.name: String should match pattern"),
        (manifest(sha256="abc"), "segments.0.sha256"),
        (manifest(more=1), "segments.0.more: Extra inputs are not permitted"),
        (manifest().replace(b"]}", b",%s]}" % json.dumps(json.loads(manifest())["segments"][0]).encode()), "twice"),
        (
            manifest(packed=True).replace(
                b"]}", b',{"name":"a","bytes":4,"packed":false,"sha256":"%s"}]}' % (b"0" * 64)
            ),
            "the packed segments must come last",
        ),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read_manifest(text)
    assert "\n" not in str(refused.value)
