"""The gateway as a process, before a stand-in for the SuperLink that tells what reached it."""

import base64
import contextlib
import datetime
import hashlib
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.consortium.keys import new_private_key, node_key, public_key_text
from fedthorax.common.consortium.registration import new_registration
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER, sign_call
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.server.consortium.admission import admit
from fedthorax.server.consortium.folder import ConsortiumFolder, create_consortium
from fedthorax.server.consortium.settings import split_address

from ..waiting import free_port, wait_for

MODEL = 53 * 2**20
PULL = "/v1/fleet/pull-messages"


class StandIn:
    """Answers with what it got; ``get-fab`` answers with as many bytes as a large model has."""

    def __init__(self, folder: ConsortiumFolder) -> None:
        self.paths: list[str] = []
        self.whole: list[bytes] = []  # SHA-256 of each body that came to its end
        self.status = 200
        address = split_address(folder.settings().superlink_address)
        self.server = uvicorn.Server(
            uvicorn.Config(
                self,
                *address,
                log_config=None,
                lifespan="off",
                ws="none",
                interface="asgi3",
                ssl_certfile=folder.loopback_certificate,
                ssl_keyfile=folder.loopback_key,
            )
        )
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        wait_for(lambda: self.server.started)

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["path"].startswith("/v1/control/"):  # the lead's own commands, which come past the gateway
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        self.paths.append(scope["path"])
        digest, length, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            digest.update(message.get("body", b""))
            length += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.whole.append(digest.digest())
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = json.dumps({"sha256": digest.hexdigest(), "length": length, "headers": headers}).encode()
        if scope["path"].endswith("get-fab"):
            body = b"m" * MODEL
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-from", b"superlink")]})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@dataclass(frozen=True)
class Consortium:
    """A served folder with one admitted hospital, its key, what stands behind the gateway, and the gateway's log."""

    folder: ConsortiumFolder
    anna: ec.EllipticCurvePrivateKey
    superlink: StandIn
    log: Callable[[], str]


@contextlib.contextmanager
def served_consortium(path: Path, more: str = "", files: int | None = None) -> Iterator[Consortium]:
    """A consortium in ``path`` with ``more`` lines in its settings, whose gateway may open so many ``files``."""
    text = f"address: 127.0.0.1:{free_port()}\nsuperlink_port: {free_port()}\nlargest_message_mb: 64\n"
    (path / "consortium.yaml").write_text(f"name: thorax\n{text}{more}")
    folder = create_consortium(path / "consortium.yaml", path / "thorax")
    anna = new_private_key()
    write_json(path / "anna.site.json", new_registration("St. Anna", anna, "0.1.0"))
    admit(folder, path / "anna.site.json")
    superlink = StandIn(folder)
    try:
        with gateway_process(folder, files) as log:
            yield Consortium(folder, anna, superlink, log)
    finally:
        superlink.close()


@contextlib.contextmanager
def gateway_process(folder: ConsortiumFolder, files: int | None = None) -> Iterator[Callable[[], str]]:
    """Gives what the process has printed so far."""
    command = [sys.executable, "-m", "fedthorax.server.consortium.gateway_process", str(folder.path)]
    limit = None if files is None else lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, preexec_fn=limit)

        def log() -> str:
            return os.pread(printed.fileno(), 1 << 24, 0).decode()

        try:
            wait_for(lambda: answers(folder) or process.poll() is not None, seconds=120)
            assert process.poll() is None, log()
            yield log
        finally:
            process.terminate()
            process.wait(60)


def answers(folder: ConsortiumFolder) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(split_address(folder.settings().gateway_address)):
        return True
    return False


def caller(folder: ConsortiumFolder) -> httpx.Client:
    context = ssl.create_default_context(cafile=folder.ca_certificate)
    return httpx.Client(base_url=f"https://{folder.settings().address}", verify=context, trust_env=False, timeout=60)


def signed(
    key: ec.EllipticCurvePrivateKey,
    path: str = PULL,
    body: bytes = b"",
    at: datetime.datetime | None = None,
    sign_with: ec.EllipticCurvePrivateKey | None = None,
) -> dict[str, str]:
    """The headers of a hospital's call."""
    stamp = (at or datetime.datetime.now(datetime.UTC)).isoformat()
    signature = (sign_with or key).sign(stamp.encode(), ec.ECDSA(hashes.SHA256()))
    digest = hashlib.sha256(body).hexdigest()
    return {
        "content-type": "application/protobuf",
        "flwr-public-key": base64.b64encode(node_key(public_key_text(key))).decode(),
        "flwr-timestamp": stamp,
        "flwr-signature": base64.b64encode(signature).decode(),
        BODY_HEADER: digest,
        CALL_HEADER: base64.b64encode(sign_call(sign_with or key, stamp, "POST", path, digest)).decode(),
    }


def head_of(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


@contextlib.contextmanager
def secure_socket(folder: ConsortiumFolder, source: str = "127.0.0.1") -> Iterator[ssl.SSLSocket]:
    """A connection from an address of this machine, with TLS and nothing in it yet."""
    context = ssl.create_default_context(cafile=folder.ca_certificate)
    address = split_address(folder.settings().gateway_address)
    with (
        socket.create_connection(address, timeout=20, source_address=(source, 0)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        yield secure


def raw(folder: ConsortiumFolder, text: str | bytes) -> bytes:
    """What comes back for bytes that no client library would send."""
    answer = b""
    with secure_socket(folder) as secure, contextlib.suppress(ConnectionError, ssl.SSLError):
        secure.sendall(text.encode() if isinstance(text, str) else text)
        while piece := secure.recv(65536):
            answer += piece
    return answer
