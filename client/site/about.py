"""What the server says of itself to anybody who asks: its consortium, its version, its clock."""

import datetime
import email.utils
import os
import ssl
import time
from dataclasses import dataclass
from typing import Any

from fedthorax.client.site.folder import SiteFolder
from fedthorax.client.site.settings import SiteSettings

CONNECT_S = 10.0


@dataclass(frozen=True)
class About:
    """``clock`` is the server's, ``asked`` ours, in Unix seconds; ``seconds`` is how long the answer took."""

    consortium: str
    software_version: str
    clock: float | None
    asked: float
    seconds: float
    way: str  # empty, or the proxy in words


def ask_about(folder: SiteFolder, settings: SiteSettings) -> About:
    """The server's word, over TLS, through the proxy as the SuperNode goes; ConnectionError with a reason in words."""
    import httpx  # what Flower's SuperNode uses

    proxy = settings.https_proxy or os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    way = f" through {proxy}" if proxy else ""
    try:
        verify = ssl.create_default_context(cafile=str(folder.ca_certificate))
        with httpx.Client(verify=verify, timeout=CONNECT_S, proxy=settings.https_proxy) as client:
            asked = time.time()
            answer = client.get(f"https://{settings.server}/fedthorax/about")
            seconds = time.time() - asked
            answer.raise_for_status()
            about: Any = answer.json()
            return About(
                str(about["consortium"]), str(about["software_version"]), _clock(about, answer), asked, seconds, way
            )
    except httpx.ProxyError as error:
        raise ConnectionError(f"the proxy {proxy} refuses the way to {settings.server}: {error}") from error
    except httpx.HTTPStatusError as error:
        raise ConnectionError(
            f"{settings.server}{way} answers with status {error.response.status_code}: is it a FedThorax server?"
        ) from error
    except httpx.TransportError as error:
        raise ConnectionError(_unreachable(settings.server + way, error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{settings.server}{way} does not answer as a FedThorax server does") from error


def _clock(about: Any, answer: Any) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(about.get("time"))).timestamp()
    except ValueError:
        pass  # a server before that field, or a proxy's own answer: the header, to the second, has to do
    header = answer.headers.get("date")
    return None if header is None else email.utils.parsedate_to_datetime(header).timestamp() + 0.5  # whole seconds


def _unreachable(where: str, error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.split("certificate verify failed: ")[-1].split(" (_ssl")[0]
        return (
            f"{where}: the server's certificate is not to be trusted ({reason}); compare ca.crt with the lead, and let "
            "nobody tell you to go on without"
        )
    if "getaddrinfo" in text or "Name or service" in text:
        return f"{where}: no machine of this name is known; is `server` in site.yaml right?"
    if isinstance(error, TimeoutError) or "timed out" in text.lower() or not text:
        return f"{where}: no answer within {CONNECT_S:g} s; does a firewall stand in between? Outgoing TCP is enough"
    return f"{where}: {text}; does the server run, and may this machine connect to it?"
