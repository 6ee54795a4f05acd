"""FedAvg as in the TensorFlow quickstart. It tells the benchmark when each round ends."""

import time

from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from network import compiled, tell

from quickstart.client_app import arrays_of

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    arrays = arrays_of(compiled())

    def mark(number: int, _: ArrayRecord) -> MetricRecord:
        """Called before the first round, and after each training; the evaluation at the sites comes after it."""
        tell("ROUND", number, time.time())
        return MetricRecord({"time": time.time()})

    FedAvg(fraction_train=1.0, fraction_evaluate=1.0).start(
        grid=grid, initial_arrays=arrays, num_rounds=int(context.run_config["num-server-rounds"]), evaluate_fn=mark
    )
    tell("END", time.time())
