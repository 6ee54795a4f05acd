"""A hospital's packed update read again, as a difference to the model that it was sent."""

from collections.abc import Mapping

from fedthorax.common.config.federation import CodecName
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.model.segments import Weights
from fedthorax.common.wire.segment import codec_of, unpack


def unpacked(reply: TrainReply, codec: CodecName, weights: Weights, sha256: Mapping[str, str]) -> TrainReply:
    """``reply`` with the weights that its packed update stands for. ``weights`` and their hashes are those of the model
    that the hospital trained. Raises ValueError that names segment and reason where something does not fit."""
    if not reply.packed:
        if codec != "float32" and reply.weights:
            raise ValueError(f"the update is not packed, expected {codec} (federation.codec)")
        return reply
    twice = sorted(set(reply.packed) & set(reply.weights))
    if twice:
        raise ValueError(f"the update holds {', '.join(twice)} twice, packed and not packed")
    found = {}
    for name, data in reply.packed.items():
        if name not in weights:
            raise ValueError(f"the update holds an unknown segment {name!r}")
        base, digest = weights[name], sha256[name]
        try:
            came = codec_of(data)
            if came != codec:
                raise ValueError(f"expected it packed as {codec} (federation.codec), got {came}")
            known = {digest: base}
            found[name] = unpack(data, known.get, base.size)
        except LookupError:
            raise ValueError(
                f"segment {name}: it is the difference to another model than the one that was sent"
            ) from None
        except ValueError as error:
            raise ValueError(f"segment {name}: {error}") from error
    return reply.model_copy(update={"weights": {**reply.weights, **found}, "packed": {}})
