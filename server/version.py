"""Which versions of FedThorax may work together."""

from typing import Any


def check_version(site: Any, server: str) -> None:
    """Raise ValueError unless a hospital's version and the server's agree in their first two numbers.

    Other versions may load, pair or train in another way, and nobody would see it in the weights.
    """
    if not isinstance(site, str) or site.split(".")[:2] != server.split(".")[:2]:
        raise ValueError(
            f"runs FedThorax {site}, but the server runs {server}; install version "
            f"{'.'.join(server.split('.')[:2])} there"
        )
