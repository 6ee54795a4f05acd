"""Flower's ClientApp: takes a message, hands it to the site worker, sends back what it answers."""

from functools import lru_cache
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedthorax.common.messages import decode_task, encode

if TYPE_CHECKING:
    from fedthorax.client.process import SiteProcess

app = ClientApp()


@lru_cache(maxsize=1)
def _process() -> "SiteProcess":
    from fedthorax.client.process import SiteProcess  # TensorFlow, only where a task has arrived

    return SiteProcess()


@app.query()
@app.train()
@app.evaluate()
def work(message: Message, context: Context) -> Message:
    """All three kinds of Flower messages carry a task that says itself what to do."""
    task = decode_task(message.content)
    return Message(encode(_process().worker.run(task)), reply_to=message)
