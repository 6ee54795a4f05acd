"""What of a reply may leave this hospital: the gate of ``common/disclosure`` with this hospital's own limits."""

from collections.abc import Collection
from typing import Any

from fedthorax.client.site.settings import SiteSettings
from fedthorax.common.config import Experiment
from fedthorax.common.config.privacy import PrivacyConfig, at_least, stricter
from fedthorax.common.disclosure.allowed import Allowed, NoRuleError
from fedthorax.common.disclosure.gate import what_leaves
from fedthorax.common.disclosure.sentences import error_outside
from fedthorax.common.issues.issue import CODES
from fedthorax.common.messages.message import ARRAYS, Reply, all_arrays
from fedthorax.common.messages.replies import Answer, TrainReply
from fedthorax.common.messages.statistics import KNOWN_CELLS
from fedthorax.common.model import SEGMENTS

_NAMES = {*KNOWN_CELLS, *CODES, "train", "valid", "test", "xray", "ct", "sex", "age_years", "view", "scanner"}
_NAMES |= {"fusion", "cancer", "xray_token", "ct_token"}  # parts of the model that a hospital can contribute to
_MODELS = {
    "none",
    "common",
    "batch_norm",
    "outputs",
    "heads",
    "all",
    "images",
    "patients",
    "intensity",
    "halves_distance",
}


def allowed_here(settings: SiteSettings, experiment: Experiment) -> Allowed:
    """This hospital's limits for an experiment; the stricter policy of the two holds, and no count below
    ``limits.smallest_count`` is told whatever it says."""
    labels = experiment.labels
    names = {*labels.findings, *labels.cancer_classes, *experiment.data.hospitals}
    return limits_here(settings, stricter(experiment.data.privacy, settings.privacy), names)


def limits_here(settings: SiteSettings, policy: PrivacyConfig | None = None, names: Collection[str] = ()) -> Allowed:
    """This hospital's own limits, with the ``policy`` that holds and the ``names`` that the lead knows."""
    limits = settings.limits
    return Allowed(
        smallest=limits.smallest_count,
        policy=at_least(policy or settings.privacy, limits.smallest_count),
        tasks=frozenset(limits.metrics),
        names=frozenset({*names, settings.name, *_NAMES, *_MODELS}),
        files=limits.file_names,
    )


def what_may_leave(reply: Reply, allowed: Allowed | None) -> Reply:
    """The reply without what ``allowed`` keeps here, and an error in words of the closed list.

    NoRuleError where something in it has no rule: then nothing of it may leave.
    """
    if not isinstance(reply, TrainReply) and all_arrays(reply):
        raise NoRuleError(f"the answer to {reply.kind} holds arrays")
    if reply.error is not None or reply.lacking:
        nothing: dict[str, Any] = {name: {} for name in ARRAYS}
        if reply.error is not None:
            return reply.model_copy(update={"error": error_outside(reply.error), **nothing})
        if odd := set(reply.lacking) - set(SEGMENTS):
            raise NoRuleError(f"{len(odd)} segments that are lacking are none of the model's")
        return reply.model_copy(update=nothing)
    if not isinstance(reply, Answer):
        return reply
    if allowed is None or reply.results is None:
        raise NoRuleError("nobody has said what may leave")
    return reply.model_copy(update={"results": what_leaves(reply.results, allowed)})
