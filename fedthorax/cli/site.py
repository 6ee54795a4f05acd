"""``fedthorax site``: a hospital's side of a consortium."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedthorax.cli.leakage import CanariesOption
from fedthorax.cli.output import JsonOption, console, counted, near, print_json, say, until_interrupted
from fedthorax.common.ground.wording import number_of

if TYPE_CHECKING:
    from fedthorax.client.site.participation import Participation

FolderOption = Annotated[
    Path, typer.Option("--folder", metavar="DIR", help="The hospital's folder; else the one that you are in.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of the experiment, or the run's id.")]

site = typer.Typer(
    name="site",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A hospital's side of a consortium: set up, check, take part, decide, look back.",
)


@site.command("init", short_help="Make the hospital's folder and keys.")
def init(
    name: Annotated[str, typer.Option("--name", help="Name of the hospital in the consortium.")],
    invitation: Annotated[Path, typer.Option("--invitation", metavar="FILE", help="What the lead sent.")],
    xray: Annotated[
        Path | None, typer.Option("--xray", metavar="DIR", help="Folder of the X-rays and their labels.")
    ] = None,
    ct: Annotated[
        Path | None, typer.Option("--ct", metavar="DIR", help="Folder of the CT slices, one folder a class.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="Where to make it, instead of a folder of its name.")
    ] = None,
) -> None:
    """Make the hospital's folder: a key pair, site.yaml, and the small file to
    send to the lead. The private key never leaves this machine.

    \b
    Example:
      fedthorax site init --name "St. Anna" --xray images/xray --ct images/ct
        --invitation invitation.json
    """
    from fedthorax.client.site.setup import init_site

    made = init_site(name, xray, ct, invitation, folder or Path(name))
    say(f"made {near(made.folder.path)}")
    say(f"send {near(made.registration)} to the lead; it holds no secret")
    say(f"read this to the lead on the telephone: {made.fingerprint}")
    say(f"next: look through {near(made.folder.settings)}")
    say(f"then: fedthorax site check --folder {near(made.folder.path)!r}")


@site.command("check", short_help="Check key, images, machine and server.")
def check(
    folder: FolderOption = Path(),
    experiment: Annotated[
        Path | None,
        typer.Option("--experiment", metavar="FILE", help="Check the images as a run of this would take them."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit status 1 if there is a warning.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check key, images, disk, memory, server, certificate, clock and versions.
    All images are read once and remembered, as by `fedthorax check`, whose page
    is written to state/check.html. Exit status: 2 where a problem would keep
    the hospital out, 1 if there are warnings and --strict, else 0.

    \b
    Example:
      fedthorax site check --folder "St. Anna"
    """
    from fedthorax.client.site.readiness import check_site
    from fedthorax.common.config.load import load_experiment

    place, settings = _opened(folder)
    loaded = None if experiment is None else load_experiment(experiment)
    marks = {"good": "ok", "warning": "warning", "problem": "PROBLEM"}
    styles = {"good": "green", "warning": "yellow", "problem": "red"}
    findings = []

    def bar() -> AbstractContextManager[Callable[[int, int], None]]:
        return counted(console(to_stderr=True), f"reading the images of {settings.name}")

    for finding in check_site(place, settings, loaded, bar):
        findings.append(finding)
        if not as_json:
            console().print(f"{marks[finding.level]:<8}", style=styles[finding.level], end="", markup=False)
            say(f"{finding.subject}: {finding.words}")
    problems = sum(finding.level == "problem" for finding in findings)
    if as_json:
        print_json({"name": settings.name, "problems": problems, "findings": [vars(f) for f in findings]})
    elif problems:
        say(f"{problems} {'problem keeps' if problems == 1 else 'problems keep'} {settings.name} out")
    else:
        say(f"{settings.name} is ready: fedthorax site start --folder {near(place.path)!r}")
    if problems:
        raise typer.Exit(2)
    if strict and any(finding.level == "warning" for finding in findings):
        raise typer.Exit(1)


@site.command("start", short_help="Run worker and SuperNode until Ctrl-C.")
def start(folder: FolderOption = Path()) -> None:
    """Run the site worker and Flower's SuperNode until Ctrl-C; what ends is
    started again. What the hospital does is shown live.

    \b
    Example:
      fedthorax site start --folder "St. Anna"
    """
    from fedthorax.cli.live import watched
    from fedthorax.client.site.supervisor import run_site

    place, settings = _opened(folder)
    if _participation(folder).standing == "withdrawn":
        raise ValueError(f"{settings.name} has withdrawn from {settings.consortium}; to return: fedthorax site resume")
    out = console()
    say(f"{settings.name} in {settings.consortium}, server {settings.server}")
    with until_interrupted() as stop, watched(place.events, out):
        run_site(place, settings, lambda text: out.print(text, markup=False, soft_wrap=True), stop)
    say("stopped")


@site.command("watch")
def watch(folder: FolderOption = Path()) -> None:
    """Show what the site worker does, until Ctrl-C."""
    from fedthorax.cli.live import watched

    place, _ = _opened(folder)
    with until_interrupted() as stop, watched(place.events, console(), since=0.0):
        stop.wait()


@site.command("worker", short_help="Run the site worker alone, as a service does.")
def worker(folder: FolderOption = Path()) -> None:
    """The site worker itself, as `site start` or a service manager runs it."""
    from fedthorax.client.site.worker_service import serve

    place, settings = _opened(folder)
    raise typer.Exit(serve(place, settings))


@site.command("approve", short_help="Show a run and what would leave; agree.")
def approve(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Name of the experiment, or the run's id; none: list them.")
    ] = None,
    folder: FolderOption = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Show what a run would train here and what would leave, and let it go on.

    \b
    Example:
      fedthorax site approve              the runs that wait
      fedthorax site approve lungs-2026
    """
    participation = _participation(folder)
    if run is None:
        waiting = participation.waiting()
        for found, entry in waiting.items():
            say(f"{entry['summary']['name']}  {found}")
        if not waiting:
            say("no run waits")
        return
    found = participation.find(run)
    summary, shown = participation.asked(found)
    for line in _summary_lines(summary):
        say(line)
    if not yes and not _confirmed("let this hospital take part?"):
        raise ValueError("nothing was decided; refuse the run with fedthorax site refuse")
    participation.decide(found, "approved", shown)
    say("approved")


@site.command("trust", short_help="Trust the hospitals of a roster.")
def trust(
    file: Annotated[Path, typer.Argument(metavar="roster.json", help="The file that the lead sent.")],
    folder: FolderOption = Path(),
    expected: Annotated[
        str | None,
        typer.Option("--fingerprint", metavar="DIGITS", help="What was read aloud in the consortium's call."),
    ] = None,
) -> None:
    """Trust the hospitals of a roster: masked updates are summed with theirs.
    The fingerprint must be the one that all hospitals see.

    \b
    Example:
      fedthorax site trust roster.json
    """
    from fedthorax.client.site.trust import pin

    place, settings = _opened(folder)
    pinned = pin(place, settings, file, expected)
    names = ", ".join(sorted(pinned.roster.hospitals))
    say(f"{'trusted before' if pinned.known else 'trusted from now on'}: {names}")
    say(f"fingerprint: {pinned.roster.fingerprint}")
    if expected is None:
        say("compare it with the other hospitals on another way than through the lead")


@site.command("leaves", short_help="Show every rule of what may leave.")
def leaves(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """Show every rule of what may leave this hospital: which fields, from which count on, rounded to what.

    A field without a rule stops the whole reply.
    """
    from fedthorax.client.site.withheld import limits_here
    from fedthorax.common.disclosure.in_words import rules_in_words

    _, settings = _opened(folder)
    told = rules_in_words(limits_here(settings))
    if as_json:
        print_json(told)
        return
    kept = [name for name in ("loss", "disease", "cancer") if name not in settings.limits.metrics]
    if kept:
        say(f"kept here: scores and losses of {', '.join(kept)} (limits.metrics)")
    for kind, rules in told.items():
        say(f"{kind}:")
        for words, places in rules.items():
            names = dict.fromkeys(place.rpartition(".")[2] for place in places)
            say(f"  {words}: {', '.join(names)}")
    say("every field with its place: fedthorax site leaves --json")


@site.command("refuse")
def refuse(run: RunArgument, folder: FolderOption = Path()) -> None:
    """Take no part in a run, or no more. What has left cannot be called back."""
    participation = _participation(folder)
    participation.decide(participation.find(run), "refused")
    say(f"{run}: this hospital takes no part; updates that have left stay in the model")


@site.command("pause", short_help="Answer no task until `site resume`.")
def pause(folder: FolderOption = Path()) -> None:
    """Answer no task until `site resume`; work under way stops at its next step."""
    _stand(folder, "paused", "paused; take part again with fedthorax site resume")


@site.command("resume", short_help="Take part again after pause or withdraw.")
def resume(folder: FolderOption = Path()) -> None:
    """Take part again after `site pause` or `site withdraw`."""
    _stand(folder, "takes part", "takes part again")


@site.command("withdraw", short_help="Leave the consortium.")
def withdraw(
    folder: FolderOption = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Leave the consortium: no task is answered any more, and kept replies are
    removed. Updates that have left stay in the models made with them.
    """
    from fedthorax.client.site.durable import ReplyStore

    place, settings = _opened(folder)
    if not yes and not _confirmed(f"leave {settings.consortium}?"):
        raise ValueError("nothing was changed")
    _stand(folder, "withdrawn", f"{settings.name} has withdrawn; stop `site start`, and ask the lead to revoke the key")
    ReplyStore(place.replies).clear()


@site.command("results")
def results(folder: FolderOption = Path(), as_json: JsonOption = False) -> None:
    """List the models and reports of finished runs."""
    place, _ = _opened(folder)
    found: list[dict[str, Any]] = []
    for report in sorted(place.results.glob("*/report.html"), key=lambda path: path.stat().st_mtime):
        models = sorted(str(path) for path in (report.parent / "model").glob("*.keras"))
        found.append({"name": report.parent.name, "report": str(report), "models": models})
    if as_json:
        print_json({"results": found})
        return
    for entry in found:
        say(f"{entry['name']}: {near(Path(entry['report']))}")
        for model in entry["models"]:
            say(f"  {near(Path(model))}")
    if not found:
        say("no run has finished yet")


@site.command("leakage", short_help="Attack a finished run's model with own images.")
def leakage(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A finished run, as `site results` names it, or its id.")],
    folder: FolderOption = Path(),
    canaries: CanariesOption = 200,
    as_json: JsonOption = False,
) -> None:
    """Attack the model of a finished run with this hospital's own images: whom
    of its patients does it give away? The answer stays in results/RUN-leakage.

    \b
    Example:
      fedthorax site leakage lungs-2026
    """
    from fedthorax.cli.leakage import attack
    from fedthorax.client.site.kept_results import kept_run
    from fedthorax.client.site.task_desk import at_this_site
    from fedthorax.common.record.run_folder import RunFolder

    place, settings = _opened(folder)
    path = kept_run(place, run)
    experiment = at_this_site(RunFolder.load(path).read_config()[0], settings)
    into, model = path.with_name(f"{path.name}-leakage"), path / "model" / "best.keras"
    attack(experiment, [settings.name], into, model, canaries, as_json)


@site.command("log", short_help="Show everything that has left this hospital.")
def log(
    folder: FolderOption = Path(),
    verify: Annotated[bool, typer.Option("--verify", help="Check the chain of hashes instead.")] = False,
    server_audit: Annotated[
        Path | None,
        typer.Option(
            "--server-audit",
            metavar="FILE",
            help="Also check the server's audit.jsonl, of a run or of all, against ours.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything that has left this hospital: run, round, what, how much.

    \b
    Example:
      fedthorax site log
      fedthorax site log --verify
    """
    from fedthorax.client.site.egress import verify_egress
    from fedthorax.common.ground.audit import read_lines

    place, _ = _opened(folder)
    if verify or server_audit is not None:
        lines = verify_egress(place.egress, server_audit)
        say(f"{near(place.egress)}: {number_of(lines, 'line')}, the chain is whole")
        return
    entries = list(read_lines(place.egress))
    if as_json:
        print_json({"lines": entries})
        return
    for entry in entries:
        say(_log_line(entry))
    if not entries:
        say("nothing has left")


@site.command("renew", short_help="Make a new key pair, or switch to it.")
def renew(
    folder: FolderOption = Path(),
    switch: Annotated[bool, typer.Option("--switch", help="Use the new key, once the lead has admitted it.")] = False,
    invitation: Annotated[
        Path | None, typer.Option("--invitation", metavar="FILE", help="Take over a newer invitation's certificate.")
    ] = None,
) -> None:
    """Make a new key pair beside the present one, which stays in use until
    --switch; or take over a new certificate of the server.

    \b
    Example:
      fedthorax site renew            then send NAME.site.json to the lead
      fedthorax site renew --switch   once the lead has admitted it
    """
    from fedthorax.client.site import setup
    from fedthorax.client.site.supervisor import restart_supernode

    place, settings = _opened(folder)
    if invitation is not None:
        setup.renew_invitation(place, invitation)
        say("the new certificate is in use")
    elif switch:
        say(f"the new key is in use: {setup.switch_key(place)}")
    else:
        made = setup.new_key(place, settings)
        say(f"send {near(made.registration)} to the lead, and read to them: {made.fingerprint}")
        say("once it is admitted: fedthorax site renew --switch")
        return
    if restart_supernode(place):
        say("the SuperNode connects anew")


@site.command("worker-certificates", short_help="Make certificates for a worker elsewhere.")
def worker_certificates(
    host: Annotated[str, typer.Argument(metavar="HOST", help="Name or address of the worker's machine.")],
    folder: FolderOption = Path(),
) -> None:
    """Make certificates for a worker on another machine, such as one with a GPU."""
    from fedthorax.client.site.setup import make_worker_certificates

    place, _ = _opened(folder)
    there, here = make_worker_certificates(place.path / "worker-tls", host)
    say(f"copy {near(there)} to {host} over a safe way, then remove it here; {near(here)} stays")


def _opened(folder: Path) -> tuple[Any, Any]:
    """The hospital's folder and settings."""
    from fedthorax.client.site.folder import SiteFolder
    from fedthorax.client.site.settings import load_settings

    place = SiteFolder.at(folder)
    return place, load_settings(place.settings)


def _participation(folder: Path) -> "Participation":
    from fedthorax.client.site.participation import Participation

    return Participation(_opened(folder)[0].state)


def _stand(folder: Path, standing: Any, words: str) -> None:
    _participation(folder).stand(standing)
    _, settings = _opened(folder)
    say(words if words.startswith(settings.name) else f"{settings.name} {words}")


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ValueError(f"{question} nobody is there to answer; add --yes")
    return typer.confirm(question)


def _summary_lines(summary: dict[str, Any]) -> list[str]:
    trained = bool(summary["phases"])
    what = "run" if trained else "statistics, and no training, for"
    lines = [f"{what} {summary['name']}, with {', '.join(summary['hospitals'])}"]
    if trained:
        lines.append(f"network: {summary['network']}")
    lines += [
        f"X-ray findings: {', '.join(summary['findings'])}",
        f"CT classes: {', '.join(summary['cancer_classes'])}",
    ]
    if trained:
        lines += ["would be trained here:", *(f"  {phase}" for phase in summary["phases"])]
    lines += ["would leave:", *(f"  {text}" for text in summary["leaves"])]
    return [*lines, f"stays here: {', '.join(summary['stays'])}"]


def _log_line(entry: dict[str, Any]) -> str:
    facts = entry["facts"]
    if "bytes" not in facts:
        return f"{entry['time']}  {entry['event']}"
    what = [*facts["what"]["results"], *facts["what"]["weights"]]
    if "error" in facts["what"]:
        what = [f"error: {facts['what']['error']}"]
    again = " (again)" if entry["event"] == "sent again" else ""
    size = f"{facts['bytes'] / 1e6:.2f} MB" if facts["bytes"] >= 10_000 else f"{facts['bytes']} bytes"
    where = f"{facts['run'][:12]} round {facts['round']} {facts['task']}{again}"
    return f"{entry['time'][:19]}  {where}: {size}, {', '.join(what) or 'nothing'}, SHA-256 {facts['sha256'][:16]}"
