"""The local training of NVFlare's TensorFlow recipe: one process that stays, and trains whenever a model comes."""

import time

import nvflare.client as flare
from network import compiled, hospital, tell


def main() -> None:
    model = compiled()
    flare.init()
    number = int(flare.get_site_name().rsplit("-", 1)[1]) - 1
    (inputs, targets), (valid_inputs, valid_targets) = hospital(number)
    while flare.is_running():
        received = flare.receive()
        tell("ROUND", number, received.current_round, time.time())
        for name, values in received.params.items():
            model.get_layer(name).set_weights(values)
        started = time.monotonic()
        loss = model.evaluate(valid_inputs, valid_targets, verbose=0)[0]
        model.fit(inputs, targets, epochs=1, batch_size=16, verbose=0)
        tell("WORK", number, received.current_round, time.monotonic() - started)
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        flare.send(
            flare.FLModel(params=weights, metrics={"accuracy": -loss}, meta={"NUM_STEPS_CURRENT_ROUND": len(inputs[0])})
        )
    tell("END", number, time.time())


if __name__ == "__main__":
    main()
