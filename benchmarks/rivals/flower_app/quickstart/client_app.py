"""Both messages build the model, take the weights, work, and answer, as the TensorFlow quickstart does."""

import time

import keras
import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from network import compiled, hospital, tell

app = ClientApp()


def arrays_of(model: keras.Model) -> ArrayRecord:
    # An EfficientNet holds values that are no arrays, which ArrayRecord refuses.
    return ArrayRecord([np.atleast_1d(np.asarray(values)) for values in model.get_weights()])


def model_with(arrays: ArrayRecord) -> keras.Model:
    model = compiled()
    shapes = [np.shape(values) for values in model.get_weights()]
    model.set_weights([values.reshape(shape) for values, shape in zip(arrays.to_numpy_ndarrays(), shapes, strict=True)])
    return model


def told(context: Context, started: float) -> None:
    tell("WORK", context.node_config["partition-id"], time.monotonic() - started)


@app.train()
def train(message: Message, context: Context) -> Message:
    keras.backend.clear_session()
    model = model_with(message.content["arrays"])
    (inputs, targets), _ = hospital(int(context.node_config["partition-id"]))
    started = time.monotonic()
    history = model.fit(
        inputs,
        targets,
        epochs=int(context.run_config["local-epochs"]),
        batch_size=int(context.run_config["batch-size"]),
        verbose=0,
    )
    told(context, started)
    metrics = {"num-examples": len(inputs[0]), "train_loss": history.history["loss"][-1]}
    content = RecordDict({"arrays": arrays_of(model), "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    keras.backend.clear_session()
    model = model_with(message.content["arrays"])
    _, (inputs, targets) = hospital(int(context.node_config["partition-id"]))
    started = time.monotonic()
    loss = model.evaluate(inputs, targets, verbose=0)[0]
    told(context, started)
    metrics = {"num-examples": len(inputs[0]), "eval_loss": loss}
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
