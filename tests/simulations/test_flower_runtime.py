"""What happens when Flower's own runtime fails under a run."""

import signal
import threading
from typing import Any

import flwr.simulation
import pytest

from fedthorax.common.config.load import load_experiment
from fedthorax.simulations import flower_runtime


def test_a_runtime_that_crashes_ends_the_waiting_server_and_says_why(
    experiment_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server's thread waits for hospitals that never answer, and the program never ends."""
    asked, threads = threading.Event(), []

    def crash(server_app: Any, client_app: Any, number: int, backend_config: Any) -> None:
        threads.append(threading.Thread(target=server_app, args=(None, None), daemon=True))
        threads[0].start()
        assert asked.wait(60)
        try:
            raise RuntimeError("The current node timed out during startup.")
        except RuntimeError as error:
            raise RuntimeError("An error was encountered. Ending simulation.") from error

    def serve(channel: Any) -> None:
        asked.set()
        while not channel.stopped():
            threading.Event().wait(0.01)

    monkeypatch.setattr(flwr.simulation, "run_simulation", crash)
    with pytest.raises(RuntimeError, match=r"ended by itself: The current node timed out during startup\."):
        flower_runtime.on_flower(load_experiment(experiment_file()), None, serve)
    threads[0].join(30)
    assert not threads[0].is_alive()


def test_ray_writes_nothing_on_stdout_and_leaves_sigterm_to_us(capsys: pytest.CaptureFixture[str]) -> None:
    """It told there of every process that we end, between the lines of --json, and aborted at a polite kill."""
    before = signal.getsignal(signal.SIGTERM)
    with flower_runtime._quiet_flower():
        import ray._private.worker

        told = {"lines": ["A worker died"], "pid": "raylet", "is_err": False}
        ray._private.worker.print_to_stdstream(told, ignore_prefix=False)
        ray._private.utils.set_sigterm_handler(lambda *_: None)
    assert capsys.readouterr().out == ""
    assert signal.getsignal(signal.SIGTERM) is before
    assert flower_runtime._ENVIRONMENT["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] == "1"
