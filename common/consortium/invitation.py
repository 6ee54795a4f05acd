"""``invitation.json``: what the lead gives to every hospital. It holds no secret."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cryptography import x509
from pydantic import AfterValidator, Field, ValidationError, field_validator

from fedthorax.common.config.problems import dotted, problem_lines
from fedthorax.common.ground.frozen import Frozen

CONSORTIUM_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
VERSION = r"^[0-9A-Za-z.+!_-]{1,64}$"  # it is printed on the other side


def _with_port(address: str) -> str:
    if not 1 <= int(address.rpartition(":")[2]) <= 65535:
        raise ValueError(f"the port of {address} must be from 1 to 65535")
    return address


Address = Annotated[
    str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$"), AfterValidator(_with_port)
]
Sent = TypeVar("Sent", bound=Frozen)
LARGEST_FILE = 256 * 1024  # bytes; the real ones have 2 to 4 KiB


class Invitation(Frozen):
    """Where the consortium's server is, and how to recognise it."""

    format: Literal[1] = Field(default=1, description="Version of this file's format.")
    consortium: str = Field(pattern=CONSORTIUM_NAME, description="Name of the consortium.")
    address: Address = Field(description="The server's address, HOST:PORT.")
    ca_certificate: str = Field(description="Certificate of the consortium's own authority, in PEM.")
    software_version: str = Field(pattern=VERSION, description="Version of FedThorax at the server.")

    @field_validator("ca_certificate")
    @classmethod
    def _certificates(cls, text: str) -> str:
        try:
            found = x509.load_pem_x509_certificates(text.encode("ascii"))
        except (ValueError, UnicodeEncodeError):
            found = []
        if not found:
            raise ValueError("expected a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")
        return text


def read_invitation(path: Path) -> Invitation:
    """The file's content; FileNotFoundError, or ValueError with one line a problem."""
    return read_sent(path, Invitation, "the lead's invitation.json")


def read_sent(path: Path, kind: type[Sent], expected: str) -> Sent:
    """The content of a file that another party sent. FileNotFoundError; ValueError if it is larger than any real one,
    or with one line a problem."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}; expected {expected}")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ValueError(f"{path}: larger than {LARGEST_FILE} bytes, so it is not {expected}")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        lines = [f"{path}: {': '.join([*([dotted(k)] if k else []), w])}" for k, w in problem_lines(error, kind)]
        raise ValueError("\n".join(lines)) from None
