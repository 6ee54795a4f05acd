"""Certificates as TLS sees them: handshakes in memory, no network."""

import datetime
import ssl
from pathlib import Path

import pytest

from fedthorax.server.consortium.certificates import (
    create_authority,
    days_left,
    issue_loopback_certificate,
    issue_server_certificate,
    read_certificate,
    read_pair,
)


@pytest.fixture
def pki(tmp_path):
    create_authority("thorax", tmp_path / "ca.crt", tmp_path / "ca.key")
    issue(tmp_path)
    return tmp_path


def issue(pki, names=("fl.example.org", "10.1.2.3"), days=90, **more):
    authority = (pki / "ca.crt", pki / "ca.key")
    issue_server_certificate(names, days, authority, pki / "server.crt", pki / "server.key", **more)


def handshake(trusted, server_certificate, server_key, name):
    """Raises ssl.SSLError where a client that trusts ``trusted`` would not accept the server as ``name``."""
    client_context = ssl.create_default_context(cafile=trusted)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(server_certificate, server_key)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.getpeercert()


@pytest.mark.parametrize("name", ["fl.example.org", "10.1.2.3", "localhost", "127.0.0.1"])
def test_hospitals_accept_the_server_under_each_of_its_names(pki, name):
    handshake(pki / "ca.crt", pki / "server.crt", pki / "server.key", name)


def test_hospitals_do_not_accept_another_name(pki):
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(pki / "ca.crt", pki / "server.crt", pki / "server.key", "evil.example.org")


def test_hospitals_do_not_accept_another_authority_of_the_same_name(pki, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    create_authority("thorax", other / "ca.crt", other / "ca.key")
    issue(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(pki / "ca.crt", other / "server.crt", other / "server.key", "fl.example.org")


def test_a_renewed_certificate_has_a_new_key_and_new_names(pki):
    before = read_certificate(pki / "server.crt").public_key()
    issue(pki, names=("new.example.org",), days=200)
    assert read_certificate(pki / "server.crt").public_key() != before
    assert days_left(pki / "server.crt") == 199
    handshake(pki / "ca.crt", pki / "server.crt", pki / "server.key", "new.example.org")


def test_after_a_renewal_of_the_authority_old_and_new_hospitals_connect(pki):
    trusted = [pki / "first.crt", pki / "second.crt"]
    for copy in trusted:
        copy.write_bytes((pki / "ca.crt").read_bytes())
        issue(pki, renewed="thorax")
        for known in (*trusted[: trusted.index(copy) + 1], pki / "ca.crt"):
            handshake(known, pki / "server.crt", pki / "server.key", "fl.example.org")
    issue(pki)  # an ordinary renewal afterwards keeps what the old hospitals need
    for known in (*trusted, pki / "ca.crt"):
        handshake(known, pki / "server.crt", pki / "server.key", "fl.example.org")


@pytest.mark.parametrize("crash", [0, 1, 2, 3])
def test_wherever_a_renewal_of_the_authority_ends_the_next_one_serves_old_hospitals(pki, monkeypatch, crash):
    (pki / "known.crt").write_bytes((pki / "ca.crt").read_bytes())
    replaced, replace = [], Path.replace

    def until_then(path, target):
        if len(replaced) == crash:
            raise OSError("killed")
        replaced.append(target.name)
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", until_then)
        with pytest.raises(OSError, match="killed"):
            issue(pki, renewed="thorax")
    assert replaced == ["server.key", "server.crt", "ca.key"][:crash]
    assert all(path.suffix in (".crt", ".key") for path in pki.iterdir())
    read_pair(pki / "server.crt", pki / "server.key")
    handshake(pki / "known.crt", pki / "server.crt", pki / "server.key", "fl.example.org")
    issue(pki)
    handshake(pki / "known.crt", pki / "server.crt", pki / "server.key", "fl.example.org")
    handshake(pki / "ca.crt", pki / "server.crt", pki / "server.key", "fl.example.org")


def test_a_name_that_no_certificate_can_have_leaves_the_authority_as_it_was(pki):
    before = {path: path.read_bytes() for path in pki.iterdir()}
    with pytest.raises(ValueError, match="A-label"):
        issue(pki, names=("münchen.example.org",), renewed="thorax")
    assert {path: path.read_bytes() for path in pki.iterdir()} == before


def test_a_key_that_does_not_belong_to_the_authority_is_refused(pki, tmp_path):
    create_authority("other", tmp_path / "o.crt", tmp_path / "o.key")
    (tmp_path / "o.key").replace(pki / "ca.key")
    with pytest.raises(ValueError, match="do not belong together"):
        issue(pki)


def test_a_key_of_a_backup_from_before_the_authority_was_renewed_is_refused(pki, monkeypatch):
    old = (pki / "ca.key").read_bytes()
    monkeypatch.setattr("fedthorax.common.consortium.issuing._SKEW", datetime.timedelta(0))  # an hour later
    issue(pki, renewed="thorax")
    present = (pki / "ca.crt").read_bytes()
    (pki / "ca.key").write_bytes(old)
    with pytest.raises(ValueError, match="do not belong together; restore both from the backup"):
        issue(pki)
    assert (pki / "ca.crt").read_bytes() == present


def test_the_loopback_certificate_vouches_for_itself_and_for_loopback_only(tmp_path):
    issue_loopback_certificate(tmp_path / "l.crt", tmp_path / "l.key")
    handshake(tmp_path / "l.crt", tmp_path / "l.crt", tmp_path / "l.key", "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tmp_path / "l.crt", tmp_path / "l.crt", tmp_path / "l.key", "fl.example.org")
