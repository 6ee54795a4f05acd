"""Which hospital a Flower node is: its registered key says so, or, in a simulation, nothing does."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedthorax.common.consortium.keys import node_key

if TYPE_CHECKING:
    from fedthorax.server.consortium.folder import Hospital


@dataclass(frozen=True)
class Node:
    """A connected Flower node. ``activation`` changes when its SuperNode starts again and has forgotten its tasks."""

    id: int
    activation: str = ""


# From the nodes that are connected, as ``Grid.get_nodes`` gives them, to the hospitals that are.
Recognise = Callable[[Iterable[Any]], Mapping[str, Node]]


def by_key(hospitals: Callable[[], Iterable["Hospital"]]) -> Recognise:
    """A consortium: a node is the hospital whose registered public key it has proved to hold.

    ``hospitals`` is asked every time, so that who is revoked during a run is out. A node with a key that is not listed
    is nobody. Raises ValueError where a listed key cannot be read.
    """

    def recognise(nodes: Iterable[Any]) -> dict[str, Node]:
        names = {_key_of(one): one.name for one in hospitals() if not one.revoked}
        connected = {bytes(node.public_key): node for node in nodes}
        return {
            names[key]: Node(node.node_id, node.last_activated_at) for key, node in connected.items() if key in names
        }

    return recognise


def in_turn(sites: Sequence[str]) -> Recognise:
    """A simulation: nodes are nameless and only lend their hands, so hospitals are dealt to them in turn.

    The deal is made once, as soon as there is a node: a hospital that changed hands would do its task twice.
    """
    dealt: dict[str, Node] = {}

    def recognise(nodes: Iterable[Any]) -> dict[str, Node]:
        ids = sorted(node.node_id for node in nodes)
        if ids and not dealt:
            dealt.update({site: Node(ids[position % len(ids)]) for position, site in enumerate(sites)})
        return dealt

    return recognise


def _key_of(hospital: "Hospital") -> bytes:
    try:
        return node_key(hospital.public_key)
    except ValueError as error:
        raise ValueError(f"the public key of hospital {hospital.name} is not in OpenSSH format: {error}") from error
