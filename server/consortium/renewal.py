"""New certificates while the consortium runs: the gateway takes them for new connections, present ones go on."""

from dataclasses import dataclass

from fedthorax.server.consortium.certificates import days_left, issue_server_certificate
from fedthorax.server.consortium.folder import (
    ConsortiumFolder,
    certificate_names,
    changing_hospitals,
    offer_invitation,
)


@dataclass(frozen=True)
class Renewal:
    """Days for which the server's certificate and the authority are good now."""

    certificate_days: int
    authority_days: int


def renew(folder: ConsortiumFolder, authority: bool = False) -> Renewal:
    """A new server certificate for the names in consortium.yaml, which may have changed; with ``authority`` a new
    authority as well, and a new invitation.

    After that, hospitals that know the old authority connect as before until it ends, because the server shows them
    the new one as signed by the old; they put in the new invitation at leisure.
    """
    settings = folder.settings()
    with changing_hospitals(folder):
        issue_server_certificate(
            certificate_names(settings),
            settings.certificate_days,
            (folder.ca_certificate, folder.ca_key),
            folder.server_certificate,
            folder.server_key,
            settings.name if authority else "",
        )
        offer_invitation(folder, settings)
        done = Renewal(days_left(folder.server_certificate), days_left(folder.ca_certificate))
        folder.audit.append("certificate_renewed", authority=authority, days=done.certificate_days)
    return done
