"""A consortium's folder without processes, and hospitals that register."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.consortium.keys import new_private_key
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium

from ...waiting import free_port


@dataclass(frozen=True)
class Applicant:
    """A hospital's private key and the file that it sends."""

    key: ec.EllipticCurvePrivateKey
    file: Path


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "consortium.yaml"
    path.write_text(
        f"name: thorax\naddress: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\nlargest_message_mb: 64\n"
    )
    return path


@pytest.fixture
def folder(settings_file: Path, tmp_path: Path) -> ConsortiumFolder:
    return create_consortium(settings_file, tmp_path / "thorax")


@pytest.fixture
def applicant(tmp_path: Path) -> Callable[..., Applicant]:
    """Makes a registration file; ``previous`` signs it as well."""
    made: list[Applicant] = []

    def make(name: str, previous: Applicant | None = None, key: ec.EllipticCurvePrivateKey | None = None) -> Applicant:
        key = key or new_private_key()
        file = tmp_path / f"{len(made)}.site.json"
        write_json(file, new_registration(name, key, "0.1.0", previous and previous.key))
        made.append(Applicant(key, file))
        return made[-1]

    return make
