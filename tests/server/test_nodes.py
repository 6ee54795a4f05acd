from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.primitives.asymmetric import public_key_to_bytes

from fedthorax.server.nodes import Node, by_key


def hospital(name: str, revoked: bool = False):
    """An admitted hospital and the node that its key opens, as Flower lists it."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    text = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    entry = SimpleNamespace(name=name, public_key=f"{text} {name}", revoked=revoked)
    number = {"Nord": 1, "St. Anna": 2, "Süd": 3}[name]
    return entry, NodeInfo(
        node_id=number, public_key=public_key_to_bytes(key), name="whatever it says", last_activated_at="9:00"
    )


def test_a_node_is_the_hospital_whose_key_it_holds_and_not_the_one_it_names():
    hospitals, nodes = zip(*(hospital(name) for name in ("Nord", "St. Anna")), strict=True)
    assert by_key(lambda: hospitals)(reversed(nodes)) == {"Nord": Node(1, "9:00"), "St. Anna": Node(2, "9:00")}


def test_who_is_not_listed_or_is_revoked_is_nobody():
    (nord, nord_node), (anna, anna_node), (_, stranger) = hospital("Nord"), hospital("St. Anna", True), hospital("Süd")
    assert by_key(lambda: [nord, anna])([nord_node, anna_node, stranger]) == {"Nord": Node(1, "9:00")}


def test_a_revocation_takes_effect_at_once():
    entry, node = hospital("Nord")
    listed = [entry]
    recognise = by_key(lambda: listed)
    assert set(recognise([node])) == {"Nord"}
    entry.revoked = True
    assert recognise([node]) == {}


def test_a_key_that_cannot_be_read_is_named():
    broken = SimpleNamespace(name="Nord", public_key="ssh-nothing", revoked=False)
    with pytest.raises(ValueError, match="the public key of hospital Nord is not in OpenSSH format"):
        by_key(lambda: [broken])([])
