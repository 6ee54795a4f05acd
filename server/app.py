"""Flower's ServerApp: reads the experiment from the run-config and runs its rounds over Flower's grid."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import absolute, load_experiment, parse_experiment
from fedthorax.common.run_folder import RunFolder
from fedthorax.server.channel import FlowerChannel

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One run, described by the run-config.

    ``experiment`` is the whole experiment as JSON (``fedthorax config --flower`` writes it), or the path of a YAML file
    from the directory in which the SuperLink was started; ``overwrite`` replaces an earlier run.
    """
    experiment = read_experiment(str(context.run_config["experiment"]))
    with RunFolder.create(experiment.run_folder, overwrite=bool(context.run_config.get("overwrite", False))) as folder:
        from fedthorax.server.session import run_session  # TensorFlow, only once the experiment is known to be good

        channel = FlowerChannel(grid, experiment.federation.round_timeout_s)
        outcome = run_session(experiment, tuple(experiment.data.hospitals), channel, folder, "simulate")
    print(f"{outcome.status}: {outcome.folder / 'report.html'}")


def read_experiment(text: str) -> Experiment:
    """The experiment with absolute paths, from JSON or from the path of a YAML file."""
    if text.lstrip().startswith("{"):
        return absolute(parse_experiment(text))
    return load_experiment(Path(text), base=Path.cwd())
