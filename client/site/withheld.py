"""What of a reply may leave this hospital: the gate of ``common/disclosure`` with this hospital's own limits."""

import re
from collections.abc import Collection
from pathlib import Path

from fedthorax.client.site.settings import SiteSettings
from fedthorax.common.config import Experiment
from fedthorax.common.config.privacy import PrivacyConfig, at_least, stricter
from fedthorax.common.disclosure.gate import Allowed, NoRuleError, what_leaves
from fedthorax.common.issues.issue import CODES
from fedthorax.common.messages.message import Reply
from fedthorax.common.messages.replies import Answer
from fedthorax.common.messages.statistics import KNOWN_CELLS

_A_PATH = re.compile(r"(?:^|[\s'\"(:=])(?:/[^\s/]+/|[A-Za-z]:\\|\\\\)")  # absolute; /api alone is none
_NAMES = {*KNOWN_CELLS, *CODES, "train", "valid", "test", "xray", "ct", "sex", "age_years", "view", "scanner"}
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


def what_may_leave(reply: Reply, allowed: Allowed | None, folders: tuple[Path, ...]) -> Reply:
    """The reply without what ``allowed`` keeps here; ``folders`` are the site's own, whose paths never leave.

    NoRuleError where something in it has no rule: then nothing of it may leave.
    """
    if reply.error is not None:
        if any(str(folder) in reply.error for folder in folders) or _A_PATH.search(reply.error):
            why = f"{reply.site}: it cannot do the task; the hospital's own log says why"
            return reply.model_copy(update={"error": why})
        return reply
    if not isinstance(reply, Answer) or reply.results is None:
        return reply
    if allowed is None:
        raise NoRuleError("nobody has said what may leave")
    return reply.model_copy(update={"results": what_leaves(reply.results, allowed)})
