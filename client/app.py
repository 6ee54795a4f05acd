"""Flower's ClientApp: takes a message, hands it to the site worker, sends back what it answers.

At a hospital the worker is a process of its own, which this one reaches through the socket that the SuperNode was
started with; in a simulation it runs in here.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedthorax.common.ground.collector import collector_off
from fedthorax.common.messages import Reply, Task, decode_task, encode

if TYPE_CHECKING:
    from fedthorax.client.process import SiteProcess

app = ClientApp()


@lru_cache(maxsize=1)
def _process() -> "SiteProcess":
    with collector_off():
        from fedthorax.client.process import SiteProcess  # TensorFlow, only where a task has arrived

    return SiteProcess()


@app.query()
@app.train()
@app.evaluate()
def work(message: Message, context: Context) -> Message:
    """All three kinds of Flower messages carry a task that says itself what to do."""
    return Message(encode(_answer(decode_task(message.content), context)), reply_to=message)


def _answer(task: Task, context: Context) -> Reply:
    if task.kind == "present":  # says something about the way here; the worker has no part in it
        return Reply(task.kind, task.site, task.round, task_id=task.id)
    if "socket" not in context.node_config and "worker" not in context.node_config:
        return _process().worker.run(task)
    from fedthorax.client.site.worker_client import ask_worker  # gRPC, only at a hospital

    return ask_worker(task, context.node_config)
