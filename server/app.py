"""Flower's ServerApp: reads the experiment from the run-config and runs its rounds over Flower's grid.

It serves a consortium and Flower's own simulation. In a consortium the SuperLink was started by ``fedthorax server
start``, which names the consortium's folder in the environment; what came with the run-config has no say in it.
"""

import json
import os
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute, load_experiment, parse_experiment
from fedthorax.common.config.travelling import require_local, require_weights
from fedthorax.server.consortium.objects import ObjectStore
from fedthorax.server.flower_channel import FlowerChannel
from fedthorax.server.nodes import Recognise, by_key, in_turn
from fedthorax.server.resume import open_finished, open_run

CONSORTIUM_VARIABLE = "FEDTHORAX_CONSORTIUM"
_POLL_S = 0.5  # each look at a hospital's reply is a request over HTTP
_NODE_POLL_S = 3.0  # a node counts as connected for a minute after it was last heard of

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run, described by the run-config.

    ``experiment`` is the whole experiment as JSON (``fedthorax config --flower`` writes it), or the path of a YAML file
    from the directory in which the SuperLink was started; ``overwrite`` replaces an earlier run of that name,
    ``resume`` goes on with it, without the hospitals ``leave-out`` (a JSON list) in its first round; ``deliver`` serves
    the hospitals that were away when it ended; with ``statistics`` the hospitals are asked for numbers only, and no run
    is made.
    """
    folder = os.environ.get(CONSORTIUM_VARIABLE)
    experiment = read_experiment(str(context.run_config["experiment"]), Path(folder) if folder else Path.cwd())
    sites = tuple(experiment.data.hospitals)
    recognise: Recognise
    if context.run_config.get("statistics", False):
        _ask_statistics(grid, str(context.run_config["experiment"]), experiment, folder)
        return
    if folder:
        require_weights(experiment)
        experiment.data.central_sources()
        recognise = _of_consortium(Path(folder), sites)
    else:
        require_local(experiment, sites, experiment.required_sites)
        recognise = in_turn(sites)
    wait, poll = experiment.federation.connect_timeout_s, _POLL_S if folder else FlowerChannel.poll_s
    channel = FlowerChannel(grid, sites, recognise, connect_timeout_s=wait, poll_s=poll)
    if folder:  # in a simulation nothing is lost, and its nodes answer questions while they work
        channel.ask_after_s = experiment.federation.ask_after_s
        _hang_bells(channel, Path(folder))
        channel.objects = _objects(Path(folder))
    try:
        _serve(experiment, sites, channel, context, folder)
    finally:
        if channel.objects is not None:
            channel.objects.end()


def _serve(
    experiment: Experiment, sites: tuple[str, ...], channel: FlowerChannel, context: Context, folder: str | None
) -> None:
    if folder and context.run_config.get("deliver", False):
        with open_finished(experiment) as finished:
            from fedthorax.server.late_delivery import deliver_late  # TensorFlow, as below

            deliver_late(experiment, channel, finished)
        return
    flags = {name: bool(context.run_config.get(name, False)) for name in ("overwrite", "resume")}
    leave_out = json.loads(str(context.run_config.get("leave-out", "[]")))
    with open_run(experiment, **flags, leave_out=leave_out) as run:
        from fedthorax.server.session import run_session  # TensorFlow, only once the experiment is known to be good

        outcome = run_session(experiment, sites, channel, run, "consortium" if folder else "simulate")
    print(f"{outcome.status}: {outcome.folder / 'report.html'}")


def _ask_statistics(grid: Grid, text: str, experiment: Experiment, folder: str | None) -> None:
    if not folder:
        raise ValueError(
            "statistics is for a consortium's server; in a simulation use `fedthorax stats EXPERIMENT.yaml`"
        )
    from fedthorax.server.consortium.query import answer_query

    sites = tuple(experiment.data.hospitals)
    recognise = _of_consortium(Path(folder), sites)
    wait = experiment.federation.connect_timeout_s
    channel = FlowerChannel(grid, sites, recognise, connect_timeout_s=wait, poll_s=_POLL_S)
    channel.ask_after_s = experiment.federation.ask_after_s
    _hang_bells(channel, Path(folder))
    answer_query(experiment, sites, channel, Path(folder), Path(text).stem)


def read_experiment(text: str, base: Path) -> Experiment:
    """The experiment with absolute paths, relative ones below ``base``, from JSON or from the path of a YAML file."""
    if text.lstrip().startswith("{"):
        return absolute(parse_experiment(text), base)
    return load_experiment(Path(text), base=base)


def _hang_bells(channel: FlowerChannel, folder: Path) -> None:
    """Between the channel and the gateway; and each task tells the head of the consortium's log."""
    from fedthorax.server.consortium.bell import Bell, ReplyWatch
    from fedthorax.server.consortium.folder import ConsortiumFolder

    place = ConsortiumFolder(folder)
    channel.sent, channel.wait = Bell(place.mail_bell).ring, ReplyWatch(Bell(place.reply_bell)).wait
    channel.node_poll_s, channel.consortium_head = _NODE_POLL_S, place.audit.head


def _objects(folder: Path) -> ObjectStore | None:
    """Where segments lie for the gateway; None where another one stands in its place, which serves none."""
    from fedthorax.server.consortium.folder import ConsortiumFolder
    from fedthorax.server.consortium.start import serves_objects

    place = ConsortiumFolder(folder)
    return ObjectStore(place.objects) if serves_objects(place) else None


def _of_consortium(folder: Path, sites: tuple[str, ...]) -> Recognise:
    """Hospitals by their registered keys. Raises ValueError where the experiment names one that is not admitted."""
    from fedthorax.server.consortium.folder import ConsortiumFolder, read_hospitals, require_admitted

    place = ConsortiumFolder(folder)
    require_admitted(place, sites)
    return by_key(lambda: read_hospitals(place))
