"""What a hospital claims about its update, held against what it described, what the lead allows, and what training can
do. Everything here is decided before an update is averaged, and a refusal is of the one hospital that claims too much.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fedthorax.common.algorithms.aggregation import LIMIT, all_below
from fedthorax.common.config import Experiment
from fedthorax.common.config.federation import CodecName, FederationConfig
from fedthorax.common.config.privacy import MOST_ROUNDED
from fedthorax.common.messages.replies import TrainReply
from fedthorax.common.metrics.scores import Histograms
from fedthorax.common.model.segments import SegmentLayout, Weights
from fedthorax.common.record.passport import Passport, Split
from fedthorax.common.training.schedule import RoundPlan
from fedthorax.common.wire.segment import codec_of, unpack
from fedthorax.server.steps import Step, adam_reach

_ROUNDED_BY = MOST_ROUNDED // 2  # most that a hospital takes off a count when it rounds
# Of a rounding codec: a value is rounded up by a third at most (1.5 steps to 2). What earlier rounding left out of it,
# half a step of a block whose values are all alike, comes on top round after round: int4 4/3 / (1 - 0.595).
_ROUNDING_CODEC = {"int8": 1.3, "int4": 3.3}
_ROUNDING = 1.001  # of Adam's own arithmetic in float32
_ROUNDING_DOWN = 0.999
_SPACING = 2.0**-23  # of float32: at each step a value near w is rounded to w times this
# Of a moving variance in one task, and of a moving mean in standard deviations: no bounds are known, and these lie far
# above what benchmarks/update_claims.py saw of honest hospitals.
LARGEST_GROWTH, LARGEST_SHIFT = 1e6, 1e3


def check_described(data: Passport, federation: FederationConfig) -> None:
    """Raise ValueError where a hospital describes more pairs than the lead allows to one, or than its images make."""
    pairs, train = data.pairs, data.splits.get("train")
    if pairs > federation.largest_hospital:
        raise ValueError(
            f"it describes {pairs} training pairs, but the lead allows {federation.largest_hospital} to one hospital "
            "(federation.largest_hospital)"
        )
    xray, ct = (train.xray, train.ct) if train else (None, None)
    if xray is not None and ct is not None and pairs > max(xray, ct) + _ROUNDED_BY:
        raise ValueError(f"it describes {pairs} training pairs of {xray} X-rays and {ct} CT slices")


def check_counts(reply: TrainReply, data: Passport) -> None:
    """Raise ValueError unless ``reply`` counts as many pairs as it can have.

    ``data`` is the hospital's passport: it said how many pairs one pass over its images has, and an update weighs no
    more than that. An update of no pair carries no weights: its hospital has nothing to train on.
    """
    pairs = reply.num_pairs
    if reply.told.train is None or reply.told.masked is not None:
        raise ValueError("the reply does not say what was trained, and updates are not masked in this run")
    if pairs == 0 and (reply.weights or reply.beside):
        raise ValueError("the update comes from 0 pairs: weights without training")
    if pairs > data.pairs:
        raise ValueError(f"the update weighs {pairs} pairs, but the hospital described only {data.pairs}")


def check_branch_counts(reply: TrainReply, data: Passport, experiment: Experiment) -> None:
    """Raise ValueError unless the update's counts are what ``branch_counts`` gives, and no larger than the lead allows
    and the hospital's passport ``data``, in which counts are rounded. Of images whose number the passport keeps back
    each stands in a pair of an epoch, unless this takes some of them only: then what the lead allows is the bound."""
    labels, most = experiment.labels, experiment.federation.largest_hospital
    every_image = experiment.data.epoch_length == "longest" and experiment.data.sample_by == "image"
    counts, names = reply.told.counts, ("xray", "ct", "fusion", "xray_token", "ct_token", "cancer")
    if counts is None:
        raise ValueError(f"the update counts nothing, expected {', '.join(names)}, findings")
    findings = counts.findings
    if len(findings) != len(labels.findings):
        raise ValueError(f"the update counts the labels of {len(findings)} findings, expected {len(labels.findings)}")
    train = data.splits.get("train")
    xray, ct = (train.xray, train.ct) if train else (None, None)
    told: dict[str, Any] = dict.fromkeys(names, reply.num_pairs) | {"xray": xray, "ct": ct, "cancer": ct}
    claimed = [(name, getattr(counts, name), told[name]) for name in names]
    claimed += [(name, count, xray) for name, count in zip(labels.findings, findings, strict=True)]
    for name, count, described in claimed:
        reason = ""
        if count > most:
            reason = f"the lead allows {most} to one hospital (federation.largest_hospital)"
        elif described is not None and count > max(described + _ROUNDED_BY, reply.num_pairs):
            reason = f"the hospital described only {described}"
        elif described is None and every_image and count > reply.num_pairs:
            reason = f"each image stands in one of its {reply.num_pairs} pairs"
        if reason:
            raise ValueError(f"the update counts {count} for {name}, but {reason}")


def check_histograms(told: Histograms | None, data: Passport, split: Split, most: int, must_say: bool = True) -> None:
    """Raise ValueError where a histogram counts more images than the hospital's passport ``data`` has in the split, or
    than the lead allows, ``most``: it could outweigh all others in the thresholds of all. A passport that does not say
    is refused where it ``must_say``."""
    described = data.splits.get(split)
    xray, ct = ("xray", "X-rays"), ("ct", "CT slices")
    for task, (modality, words) in (("disease", xray), ("cancer", ct), ("examination", ct)):
        has = getattr(described, modality, None)
        has = most if has is None and not must_say else has
        for name, found in getattr(told, task, {}).items():
            count = sum((*found.present, *found.absent)) if found else 0
            if count and has is None:
                raise ValueError(
                    f"it keeps back how many {words} it has, so nobody can see whether it counts too many; that is "
                    "meant: a hospital may hide small counts, and its own scores stand"
                )
            if count > most:
                raise ValueError(
                    f"it counts {count} images for {name}, but the lead allows {most} to one hospital "
                    "(federation.largest_hospital)"
                )
            if has is not None and count > has + _ROUNDED_BY:
                raise ValueError(f"it counts {count} images for {name}, but described only {has}")


def check_update(reply: TrainReply, layout: SegmentLayout, segments: Iterable[str]) -> None:
    """Raise ValueError unless ``reply`` carries exactly ``segments``, in the right sizes, finite and in range."""
    expected, came = set(segments), set(reply.weights)
    if expected != came:
        raise ValueError(
            f"the update holds {', '.join(sorted(came)) or 'nothing'}, expected {', '.join(sorted(expected))}"
        )
    layout.check_sizes(reply.weights)
    for segment, values in reply.weights.items():
        if values.dtype != np.float32:
            raise ValueError(f"segment {segment}: expected float32, got {values.dtype}")
        if not all_below(values, LIMIT):
            bad = np.flatnonzero(~(np.abs(values) < LIMIT))
            first = int(bad[0])
            raise ValueError(
                f"the update holds {bad.size} values that are not finite or not below {LIMIT:.0f}, the first one "
                f"({values[first]}) in {layout.name_at(segment, first)}"
            )


def check_beside(reply: TrainReply, layout: SegmentLayout, sends: str | None) -> None:
    """Raise ValueError unless what came beside the update is what the algorithm ``sends``, of the update's segments, in
    their sizes, finite and in range."""
    try:
        check_update(reply.model_copy(update={"weights": reply.beside}), layout, reply.weights if sends else ())
    except ValueError as error:
        raise ValueError(f"beside the update, where federation.strategy has {sends or 'nothing'}: {error}") from error


def check_step(step: Step, reply: TrainReply, experiment: Experiment, plan: RoundPlan) -> None:
    """Raise ValueError where ``step`` is longer than the steps of the phase can have been, or none at all."""
    if not plan.learning_rate:
        return
    training, steps = experiment.training, steps_of(reply, experiment, plan)
    rate, codec = plan.learning_rate * plan.phase.highest_factor, _ROUNDING_CODEC.get(experiment.federation.codec)
    if codec is not None:  # what is left of an earlier phase was moved at that phase's rate
        before = training.phases[: plan.phase_index]
        rates = ((phase.learning_rate or training.learning_rate) * phase.highest_factor for phase in before)
        rate = max([rate, *rates])
    moved = rate * adam_reach(steps)
    decay = plan.learning_rate * plan.phase.highest_factor * training.weight_decay
    allowed = moved + steps * (decay + _SPACING) * (step.largest + moved)
    allowed *= codec or _ROUNDING
    if step.is_none:
        raise ValueError(f"the update changes nothing, but claims {steps} steps")
    if step.farthest > allowed:
        raise ValueError(
            f"the update moves a value of {step.variable} by {step.farthest:.3g}, but {steps} steps of Adam at "
            f"learning rate {rate:.3g} move none by more than {allowed:.3g}"
        )
    share, variable = step.left
    if share < _ROUNDING_DOWN * experiment.model.batch_norm_momentum**steps:
        raise ValueError(
            f"the update leaves {share:.3g} of the moving variance of {variable}; {steps} steps leave more"
        )
    factor, variable = step.grown
    if factor > LARGEST_GROWTH:
        raise ValueError(f"the update multiplies the moving variance of {variable} by {factor:.3g}")
    deviations, variable = step.shifted
    if deviations > LARGEST_SHIFT:
        raise ValueError(f"the update moves the moving mean of {variable} by {deviations:.3g} standard deviations")


def steps_of(reply: TrainReply, experiment: Experiment, plan: RoundPlan) -> int:
    """The steps that the update claims. Raises ValueError where its pairs do not make as many."""
    epochs, size = plan.phase.local_epochs, experiment.training.batch_size
    most = epochs * -(-reply.num_pairs // size)
    told = reply.told.train.steps if reply.told.train else 0
    if not 0 < told <= most:
        raise ValueError(
            f"the update claims {told} steps, but {reply.num_pairs} pairs in batches of {size} make at most {most} "
            f"in {epochs} local epochs"
        )
    return told


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
