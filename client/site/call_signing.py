"""What this hospital's SuperNode adds to Flower's own authentication: a signature of the whole call, and the server's
reason, in its log, when it is not let in. Imported in the SuperNode's process only."""

import base64
import hashlib
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supernode import fleet_http_connection
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from fedthorax.client.site.connection import REFUSED
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER, sign_call

_LONGEST_REASON = 300


class CallSigning(NodeAuthHttpInterceptor):
    def __init__(self, private_key: ec.EllipticCurvePrivateKey, public_key: ec.EllipticCurvePublicKey) -> None:
        super().__init__(private_key, public_key)
        self._key = private_key

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        answer: httpx.Response = super().intercept(context, lambda timed: call_next(self._signed(timed)))
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            print(REFUSED + reason_of(answer), flush=True)
        return answer

    def _signed(self, context: Any) -> Any:
        request: httpx.Request = context.request
        digest = hashlib.sha256(request.content).hexdigest()
        path = request.url.raw_path.decode("ascii")
        signature = sign_call(self._key, request.headers[TIMESTAMP_HEADER], request.method, path, digest)
        request.headers[BODY_HEADER] = digest
        request.headers[CALL_HEADER] = base64.b64encode(signature).decode("ascii")
        return context


def install() -> None:
    """Have Flower's SuperNode authenticate with ``CallSigning``."""
    setattr(fleet_http_connection, "NodeAuthHttpInterceptor", CallSigning)  # noqa: B010  a class is no variable to mypy


def reason_of(answer: httpx.Response) -> str:
    """The ``detail`` of a refusal in one line of printable characters: it comes from outside and goes to a terminal."""
    try:
        text = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        text = "no reason given"
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_REASON]
