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
BEHIND = "the SuperLink behind it"


@dataclass(frozen=True)
class About:
    """``clock`` is the server's, ``asked`` ours, in Unix seconds; ``seconds`` is how long the answer took.
    ``superlink`` says how what stands behind the gateway answers that: "answers" where all is well."""

    consortium: str
    software_version: str
    clock: float | None
    asked: float
    seconds: float
    way: str  # empty, or the proxy in words
    superlink: str


def ask_about(folder: SiteFolder, settings: SiteSettings) -> About:
    """The server's word, over TLS, through the proxy as the SuperNode goes; ConnectionError with a reason in words."""
    import httpx  # what Flower's SuperNode uses

    proxy = settings.https_proxy or os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    if _spared(settings.server):
        proxy = None
    way = f" through {without_password(proxy)}" if proxy else ""
    try:
        verify = ssl.create_default_context(cafile=str(folder.ca_certificate))
        with httpx.Client(verify=verify, timeout=CONNECT_S, proxy=settings.https_proxy and proxy) as client:
            asked = time.time()
            answer = client.get(f"https://{settings.server}/fedthorax/about")
            seconds = time.time() - asked
            answer.raise_for_status()
            about: Any = answer.json()
            return About(
                consortium=str(about["consortium"]),
                software_version=str(about["software_version"]),
                clock=_clock(about, answer),
                asked=asked,
                seconds=seconds,
                way=way,
                superlink=str(about.get("superlink", "answers")),  # which another gateway does not say
            )
    except httpx.ProxyError as error:
        words = f"the proxy {without_password(proxy or '')} refuses the way to {settings.server}: {error}"
        if str(error).startswith("5"):  # it would, and finds nobody there
            words = f"{settings.server}{way} cannot be reached: {error}; does the server run?"
        raise ConnectionError(words) from error
    except httpx.HTTPStatusError as error:
        raise ConnectionError(
            f"{settings.server}{way} answers with status {error.response.status_code}: is it a FedThorax server?"
        ) from error
    except httpx.TransportError as error:
        raise ConnectionError(_unreachable(settings.server + way, error, folder)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConnectionError(f"{settings.server}{way} does not answer as a FedThorax server does") from error


def server_fault(folder: SiteFolder, settings: SiteSettings) -> str | None:
    """What keeps the server from serving this hospital, in words; None where nothing can be seen."""
    try:
        about = ask_about(folder, settings)
    except OSError as error:
        return str(error)
    return behind_gateway(about, settings)


def behind_gateway(about: About, settings: SiteSettings) -> str | None:
    if about.superlink == "answers":
        return None
    return f"{settings.server}: the gateway is there, but {BEHIND} {about.superlink}; only the lead can mend that"


def _clock(about: Any, answer: Any) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(about.get("time"))).timestamp()
    except ValueError:
        pass  # a server before that field, or a proxy's own answer: the header, to the second, has to do
    header = answer.headers.get("date")
    return None if header is None else email.utils.parsedate_to_datetime(header).timestamp() + 0.5  # whole seconds


def _spared(server: str) -> bool:
    """Whether NO_PROXY names the server, HOST:PORT: httpx, which knows that, forgets it where it is given a proxy."""
    text = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    names = {name.strip().lstrip(".").lower() for name in text.split(",")} - {""}
    hosts = (server.lower(), server.lower().rpartition(":")[0].strip("[]"))
    return "*" in names or any(f".{host}".endswith(f".{name}") for host in hosts for name in names)


def without_password(proxy: str) -> str:
    """A proxy's address without the user and the password that may stand in it."""
    scheme, _, rest = proxy.rpartition("//")
    return f"{scheme}//{rest.rpartition('@')[2]}"


def authority_ends(folder: SiteFolder) -> datetime.datetime:
    """When the first of the certificates in ca.crt ends."""
    from cryptography import x509

    return min(c.not_valid_after_utc for c in x509.load_pem_x509_certificates(folder.ca_certificate.read_bytes()))


def _unreachable(where: str, error: Exception, folder: SiteFolder) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.split("certificate verify failed: ")[-1].split(" (_ssl")[0]
        if "has expired" in reason:
            if authority_ends(folder) < datetime.datetime.now(datetime.UTC):
                return f"{where}: the consortium's authority (ca.crt) has ended; ask the lead for a new invitation"
            return f"{where}: the server's certificate has ended; the lead renews it with `fedthorax server renew`"
        if "not yet valid" in reason:
            return f"{where}: by this machine's clock the server's certificate is not valid yet: set the clock (NTP)"
        return (
            f"{where}: the server's certificate is not to be trusted ({reason}); compare ca.crt with the lead, and let "
            "nobody tell you to go on without"
        )
    if "getaddrinfo" in text or "Name or service" in text:
        return f"{where} cannot be reached: no machine of this name is known; is `server` in site.yaml right?"
    if isinstance(error, TimeoutError) or "timed out" in text.lower() or not text:
        return (
            f"{where} cannot be reached: no answer within {CONNECT_S:g} s; does a firewall stand in between? Outgoing "
            "TCP is enough"
        )
    return f"{where} cannot be reached: {text}; does the server run, and may this machine connect to it?"
