"""``consortium.yaml``: what the lead decides about the consortium's server."""

import ipaddress

from pydantic import Field, field_validator, model_validator

from fedthorax.common.consortium.invitation import CONSORTIUM_NAME, Address
from fedthorax.common.ground.frozen import Frozen


class ConsortiumSettings(Frozen):
    """The whole file; two keys are enough."""

    name: str = Field(pattern=CONSORTIUM_NAME, description="Name of the consortium and of its folder.")
    address: Address = Field(description="HOST:PORT at which hospitals reach the server; in the certificate.")
    listen: Address | None = Field(
        default=None,
        description="HOST:PORT at which the gateway listens, [::]:PORT for IPv6 and IPv4; null: all of this machine's "
        "IPv4 addresses at address's port, and those of IPv6 where address is one.",
    )
    other_names: tuple[str, ...] = Field(
        default=(), strict=False, description="Further host names and IP addresses of the server, for the certificate."
    )
    superlink_port: int = Field(
        default=8000, ge=1024, le=65535, description="Port of Flower's SuperLink, on this machine's loopback only."
    )
    certificate_days: int = Field(default=397, ge=1, le=825, description="Days for which a server certificate is good.")
    largest_message_mb: int = Field(
        default=256, ge=16, le=2047, description="A request with more than these MiB is refused."
    )
    connections: int = Field(
        default=1024, ge=16, description="Connections to the gateway at one time; each takes two open files."
    )
    connections_per_address: int = Field(
        default=128, ge=8, description="The same from one IP address; hospitals behind one proxy share one."
    )

    unbound_calls: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="Names of hospitals whose calls are taken though path and body are not signed: those with Flower's "
        "own flower-supernode, or with FedThorax before 0.1.",
    )

    @field_validator("other_names")
    @classmethod
    def _no_ports(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name or "/" in name or " " in name or (":" in name and not _is_ip(name)):
                raise ValueError(f"expected a host name or an IP address without a port, got {name!r}")
        return names

    @model_validator(mode="after")
    def _ports_differ(self) -> "ConsortiumSettings":
        if split_address(self.gateway_address)[1] == self.superlink_port:
            raise ValueError(f"superlink_port is {self.superlink_port}, the gateway's own port; choose another")
        return self

    @property
    def gateway_address(self) -> str:
        """Where the gateway listens: a loopback address listens there only, any other on all addresses."""
        if self.listen is not None:
            return self.listen
        host, port = split_address(self.address)
        if is_loopback(host):
            return self.address
        return f"{'[::]' if ':' in host else '0.0.0.0'}:{port}"

    @property
    def superlink_address(self) -> str:
        return f"127.0.0.1:{self.superlink_port}"


def refuse_plain_http(settings: ConsortiumSettings) -> None:
    """ValueError if anybody beside this machine could reach a gateway that speaks plain HTTP."""
    if not is_loopback(split_address(settings.gateway_address)[0]):
        raise ValueError(
            f"--insecure is for loopback only, but the gateway listens at {settings.gateway_address}; set listen in "
            "consortium.yaml to 127.0.0.1:PORT, or leave --insecure out"
        )


def split_address(address: str) -> tuple[str, int]:
    """Host without brackets, and port, of ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody outside this machine can reach the address. A name other than localhost may mean anything."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
