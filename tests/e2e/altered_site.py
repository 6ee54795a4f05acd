"""A hospital that runs altered code: put as ``sitecustomize`` on the path of its Python, this spoils its updates.

FEDTHORAX_TEST_SPOIL says how, by round, as JSON: {"3": "huge"}.
"""

import json
import os
import sys

if "worker" in sys.orig_argv:
    import numpy as np

    from fedthorax.client.site import task_desk

    _honest = task_desk.what_may_leave
    _plan = json.loads(os.environ["FEDTHORAX_TEST_SPOIL"])

    def _spoilt(reply, allowed):
        reply = _honest(reply, allowed)
        how = _plan.get(str(reply.round)) if reply.kind == "train" and reply.error is None else None
        weights = {name: np.array(values) for name, values in reply.weights.items()}
        if how == "nan":
            next(iter(weights.values()))[7] = np.nan
        elif how == "huge":
            weights = {name: values + np.float32(10) for name, values in weights.items()}
        elif how == "foreign":
            weights["another"] = np.zeros(3, np.float32)
        elif how == "pairs":
            train = reply.results.train.model_copy(update={"pairs": 10_000})
            return reply.model_copy(update={"results": reply.results.model_copy(update={"train": train})})
        elif how == "name":
            return reply.model_copy(update={"site": "north"})
        return reply.model_copy(update={"weights": weights})

    task_desk.what_may_leave = _spoilt
