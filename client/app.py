"""Flower's ClientApp: takes a message, hands it to the site worker, sends back what it answers.

At a hospital the worker is a process of its own, which this one reaches through the socket that the SuperNode was
started with; in a simulation it runs in here.
"""

import traceback
from functools import lru_cache
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedthorax.common.disclosure.sentences import INSIDE
from fedthorax.common.ground.machine import collector_off
from fedthorax.common.messages.message import Asked, Reply
from fedthorax.common.messages.sending import closed, from_flower, to_flower
from fedthorax.common.wire.parcel import Parcel

if TYPE_CHECKING:
    from fedthorax.client.process import SiteProcess

app = ClientApp()
_AT_A_HOSPITAL = {"socket", "worker"}  # how the site worker is reached


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
    try:
        answer = _answer(from_flower(message.content), context)
    except Exception as error:
        if not _AT_A_HOSPITAL & set(context.node_config):
            raise
        traceback.print_exception(error)  # Flower would send the words of the error to the server
        raise RuntimeError(INSIDE) from None
    return Message(to_flower(answer), reply_to=message)


def _answer(parcel: Parcel, context: Context) -> Parcel:
    task = Asked.model_validate_json(parcel.text)
    if task.kind == "present":  # says something about the way here; the worker has no part in it
        return closed(Reply(kind=task.kind, site=task.site, round=task.round, task_id=task.id))
    if not _AT_A_HOSPITAL & set(context.node_config):
        from fedthorax.common.messages.reading import read_task

        return closed(_process().worker.run(read_task(parcel)))
    from fedthorax.client.site.worker_client import ask_worker  # gRPC, only at a hospital

    return ask_worker(parcel, task, context.node_config)
