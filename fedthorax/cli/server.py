"""``fedthorax server``: the lead's side of a consortium."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size

from fedthorax.cli.output import JsonOption, near, print_json, say, until_interrupted
from fedthorax.common.ground.atomic_write import write_json
from fedthorax.common.ground.wording import number_of

if TYPE_CHECKING:
    from fedthorax.server.consortium.folder import ConsortiumFolder
    from fedthorax.server.consortium.status import ConsortiumStatus

FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="The consortium's folder; else the one here.")
]
InsecureOption = Annotated[
    bool,
    typer.Option("--insecure", help="Plain HTTP, on loopback only: behind a TLS server of your own on this machine."),
]

server = typer.Typer(
    name="server",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The lead's side of a consortium: set it up, admit hospitals, serve.",
)


@server.command("init", short_help="Make the consortium's folder and certificates.")
def init(
    file: Annotated[Path, typer.Argument(metavar="CONSORTIUM.yaml", help="Name and address of the consortium.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where to make it, instead of a folder of its name.")
    ] = None,
) -> None:
    """Make the consortium's folder: its certificate authority, the server's
    certificate, the list of hospitals, and the invitation for them.

    \b
    Example of CONSORTIUM.yaml:
      name: thorax-network
      address: fl.example.org:8443
    """
    from fedthorax.server.consortium.folder import create_consortium

    made = create_consortium(file, folder)
    say(f"made {near(made.path)}")
    say(f"give every hospital {near(made.invitation)}; it holds no secret")
    say(f"keep {near(made.ca_key.parent)} to yourself, and a copy in a safe place")
    say("next: fedthorax server start")


@server.command("start", short_help="Serve the consortium until Ctrl-C.")
def start(
    folder: FolderOption = None,
    insecure: InsecureOption = False,
    no_gateway: Annotated[
        bool, typer.Option("--no-gateway", help="Another gateway stands in front, such as deploy/nginx.conf.")
    ] = False,
) -> None:
    """Serve the consortium until Ctrl-C: Flower's SuperLink, and the gateway
    in front of it. What ends is started again.

    \b
    Example:
      fedthorax server start --folder thorax-network
    """
    from fedthorax.server.consortium.start import start as serve

    with until_interrupted() as stop:
        serve(_opened(folder), say, stop, insecure=insecure, gateway=not no_gateway)
    say("stopped")


@server.command("admit", short_help="Admit a hospital, or let one change its key.")
def admit(
    file: Annotated[Path, typer.Argument(metavar="NAME.site.json", help="The file that the hospital sent.")],
    folder: FolderOption = None,
    expected: Annotated[
        str | None,
        typer.Option("--fingerprint", metavar="SHA256:...", help="What the hospital said its key's fingerprint is."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Admit a hospital under its name, or let an admitted one change its key.

    The file shows by itself that it was not changed, but not who sent it: ask
    the hospital for its fingerprint on another way, and give it here.

    \b
    Example:
      fedthorax server admit "St. Anna.site.json" --fingerprint SHA256:2Tb6...
    """
    from fedthorax.server.consortium.admission import admit as admit_file

    done = admit_file(_opened(folder), file, expected)
    if as_json:
        print_json(
            {
                "name": done.hospital.name,
                "fingerprint": done.fingerprint,
                "node_id": done.hospital.node_id,
                "replaced_key": done.replaced_key,
            }
        )
        return
    what = "changed its key" if done.replaced_key else "is admitted"
    say(f"{done.hospital.name} {what}: {done.fingerprint}")
    if expected is None:
        say("compare this with what the hospital reads to you; if it differs, revoke it")
    if not done.connectable:
        say("the server does not run, or its SuperLink not yet; the hospital can connect once it does")


@server.command("roster", short_help="Write the hospitals' identities for masked runs.")
def roster(
    folder: FolderOption = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write it.")] = Path("roster.json"),
) -> None:
    """Write the hospitals' identities for masked runs into a file for all of
    them, and show the fingerprint that they compare.

    \b
    Example:
      fedthorax server roster
    """
    from fedthorax.server.consortium.admission import roster as roster_of

    place = _opened(folder)
    found, without = roster_of(place, place.settings().name)
    write_json(output, found)
    for name in without:
        say(f"{name} has told no identity: ask it for `fedthorax site renew`")
    say(f"{number_of(len(found.hospitals), 'hospital')} in {near(output)}: send it to all of them")
    say(f"fingerprint: {found.fingerprint}")
    say("every hospital runs `fedthorax site trust` on it and compares this")


@server.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The hospital's name.")],
    folder: FolderOption = None,
) -> None:
    """Shut a hospital out, from its next request on.

    \b
    Example:
      fedthorax server revoke "St. Anna"
    """
    from fedthorax.server.consortium.admission import revoke as shut_out

    shut_out(_opened(folder), name)
    say(f"{name} is revoked; it can register again with a new key only")


@server.command("status")
def status(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """List the hospitals: connected or not, last seen, images, version.

    \b
    Example:
      fedthorax server status
    """
    from fedthorax.server.consortium.status import consortium_status

    found = consortium_status(_opened(folder))
    if as_json:
        print_json(asdict(found))
    else:
        _tell_status(found)
    if found.full_disk is not None:
        raise OSError(f"{found.full_disk}; runs stand still or fail until then")


def _tell_status(found: "ConsortiumStatus") -> None:
    from fedthorax.server.consortium.status import ago

    say(f"{found.name} at {found.address}: {_standing(found)}")
    for run, words in found.masked.items():
        say(f"run {run}: {words}")
    if not found.hospitals:
        say("no hospital is admitted yet")
        return
    width = max(len("hospital"), *(cell_len(hospital.name) for hospital in found.hospitals))
    say(set_cell_size("hospital", width) + "  state            last seen    version   images", style="bold")
    for hospital in found.hospitals:
        say(
            f"{set_cell_size(hospital.name, width)}  {hospital.state:<15}  {ago(hospital.last_seen):<11}  "
            f"{hospital.software_version or '-':<8}  {_images(hospital.data)}"
        )
        if hospital.passes is not None:
            say(f"  {hospital.passes}")
        for run, since in hospital.asked.items():
            words = f"a person there has yet to agree to the run {run}, asked {ago(since)}"
            say(f"  {words} (fedthorax site approve {run})")


@server.command("log", short_help="Show what happened in the consortium.")
def log(
    folder: FolderOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what happened in the consortium: who was admitted, refused and
    revoked, when certificates changed and runs were submitted.

    \b
    Example:
      fedthorax server log --verify
    """
    from fedthorax.common.ground.audit import read_lines
    from fedthorax.common.ground.audit import verify as verify_chain

    audit = _opened(folder).audit
    if verify:
        count = verify_chain(audit.path)
        say(f"{near(audit.path)}: {number_of(count, 'line')}, the chain is whole")
        say(f"its head, which hospitals get with each task: {audit.head()}")
        return
    lines = list(read_lines(audit.path))
    if as_json:
        print_json({"lines": lines})
        return
    for line in lines:
        facts = ", ".join(f"{name} {value}" for name, value in line["facts"].items() if value is not None)
        say(f"{line['time'][:19]}  {line['event']}: {facts}")


@server.command("renew", short_help="Renew the server's certificate or authority.")
def renew(
    folder: FolderOption = None,
    authority: Annotated[
        bool, typer.Option("--authority", help="Renew the certificate authority as well; hospitals need not hurry.")
    ] = False,
) -> None:
    """Renew the server's certificate, also after a change of names in
    consortium.yaml. A running server takes it without a break.

    \b
    Example:
      fedthorax server renew
    """
    from fedthorax.server.consortium.folder import renew as renew_certificate

    consortium = _opened(folder)
    done = renew_certificate(consortium, authority)
    say(f"the server's certificate is good for {number_of(done.certificate_days, 'day')}")
    if authority:
        say(f"the authority is good for {number_of(done.authority_days, 'day')}")
        say(
            f"give every hospital the new {near(consortium.invitation)}; until the old authority ends, those that do "
            "not have it connect as before"
        )


def _opened(folder: Path | None) -> "ConsortiumFolder":
    from fedthorax.server.consortium.folder import open_consortium

    return open_consortium(folder)


def _standing(found: "ConsortiumStatus") -> str:
    """Whether hospitals get in, and for how long; an ended certificate keeps them all out, whatever runs."""
    for what, days, remedy in (
        ("authority", found.authority_days, "renew --authority"),
        ("certificate", found.certificate_days, "renew"),
    ):
        if days < 0:
            return f"no hospital can connect: the {what} has ended; `fedthorax server {remedy}`"
    if found.running and found.gateway is False:
        serving = "no hospital can connect: the gateway does not answer; see logs/gateway.log"
    elif found.gateway and not found.running:
        serving = "no hospital can work: the SuperLink does not answer; see logs/superlink.log"
    else:
        serving = "serving" if found.running else "the server does not run"
    good_for = number_of(found.certificate_days, "day")
    return f"{serving}; certificate good for {good_for}, authority for {found.authority_days}"


def _images(data: dict[str, Any] | None) -> str:
    """The hospital's images as its newest run counted them, all splits together: a dash before that, 40+ where the
    hospital hides some, and no number where all."""
    if data is None:
        return "-"
    counted = []
    for modality, words in (("xray", "X-rays"), ("ct", "CT slices")):
        told = [split[modality] for split in data["splits"].values()]
        total, hidden = sum(filter(None, told)), None in told
        counted.append(f"{words} hidden" if hidden and not total else f"{total}{'+' * hidden} {words}")
    return ", ".join(counted)
