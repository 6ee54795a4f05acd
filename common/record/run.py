"""A run as it is written down: the content of metrics.json (docs/metrics.md, docs/metrics.schema.json)."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from fedthorax.common.config.training import PartName, Trained
from fedthorax.common.ground import leaving
from fedthorax.common.ground.fields import Done, Positive
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.strict_json import plain_value
from fedthorax.common.metrics.figures import Score, Share
from fedthorax.common.metrics.operating import OperatingPoints
from fedthorax.common.metrics.scores import (
    BothHeads,
    Group,
    Number,
    Personal,
    Scores,
    Subgroups,
    TestedScores,
)
from fedthorax.common.record.completed import completed
from fedthorax.common.record.passport import Passport

SCHEMA_VERSION = 3  # 2 added figures, operating points and calibration; 3 a round whose model was not taken
READABLE = (2, 3)

Status = Literal["running", "finished", "interrupted", "failed"]
Pair = Annotated[tuple[float, float], Field(strict=False)]


class Phase(Frozen):
    index: Number
    trainable: Trained
    learning_rate: Positive
    local_epochs: Number
    parts: Annotated[tuple[PartName, ...], Field(strict=False)] = ()  # trained in this round, with trainable parts


class FitTold(Frozen):
    """What training did. Losses are means over the last epoch that was run, null where no label was known."""

    loss: Annotated[float | None, leaving.Loss(("labelled_xray", "labelled_ct"))]
    disease_loss: Annotated[float | None, leaving.Loss(("labelled_xray",))]
    cancer_loss: Annotated[float | None, leaving.Loss(("labelled_ct",))]
    pairs: Done
    steps: Done
    epochs: Done
    seconds: Annotated[Positive, leaving.Machine("work done")]
    without_xray: Done = 0  # pairs of the last epoch in which a token stood for the X-ray
    without_ct: Done = 0


class SiteRound(Frozen):
    """``train`` is this round's local training, ``valid`` scores of this round's model there; ``update_norm`` is null
    without an update that counted."""

    train: FitTold | None
    valid: Scores | None
    update_norm: Positive | None
    masked: bool = False


class Failure(Frozen):
    """``stage``: describe, train, update, model (it took part in a round whose model was not taken), evaluate, finish,
    personalise, statistics."""

    site: str
    stage: str
    reason: str


class Late(Frozen):
    site: str
    stage: str
    round: Number
    duplicate: bool
    seconds: float


class Warned(Frozen):
    site: str
    reason: str


class Round(Frozen):
    """``phase`` is null for round 0, the model before any training. ``central`` are scores on the server's validation
    images; null where the round's model was not taken, and before the round is closed."""

    round: Number
    phase: Phase | None
    central: Scores | None
    sites: dict[str, SiteRound]
    failures: Annotated[tuple[Failure, ...], Field(strict=False)]
    late: Annotated[tuple[Late, ...], Field(strict=False)]
    warnings: Annotated[tuple[Warned, ...], Field(strict=False)]
    seconds: Positive | None
    bytes_sent: Number
    bytes_received: Number

    def trained(self, site: str) -> bool:
        known = self.sites.get(site)
        return known is not None and (known.train is not None or known.masked)


class Curve(Frozen):
    """ROC curve, at most 200 points."""

    fpr: Annotated[tuple[Share, ...], Field(strict=False)]
    tpr: Annotated[tuple[Share, ...], Field(strict=False)]


class CalibrationBin(Frozen):
    low: Share
    high: Share
    count: Number
    mean_probability: Share
    share_positive: Share


class Calibration(Frozen):
    """Expected calibration error and Brier score; empty bins are left out."""

    ece: Score
    ece_interval: Pair | None
    brier: Positive | None
    brier_interval: Pair | None
    known: Number
    bins: Annotated[tuple[CalibrationBin, ...], Field(strict=False)]
    reason: str | None


class CalibrationOfHeads(Frozen):
    disease: dict[str, Calibration]
    cancer: Calibration


class CalibrationBoth(Frozen):
    before: CalibrationOfHeads
    after: CalibrationOfHeads


class Curves(Frozen):
    disease: dict[str, Curve | None]
    cancer: dict[str, Curve | None]


class Patients(Frozen):
    xray: Number
    ct: Number


class ByGiven(Frozen):
    """With model.absent: token, with one of the images alone and with both."""

    xray: Scores
    ct: Scores
    both: Scores


class CentralTest(TestedScores):
    """The selected model on the central test images."""

    round: Number
    calibration: CalibrationBoth | None
    subgroups: Subgroups | None
    curves: Curves
    patients: Patients
    by_given: ByGiven | None = None


class ChosenPoints(OperatingPoints):
    """Calibration and thresholds of the model of a round."""

    round: Number


class SiteRecord(Frozen):
    """A hospital: what it described, and the selected model on its own test images."""

    data: Passport | None
    fingerprint: str | None
    software_version: str | None = None
    egress_head: str | None
    test: TestedScores | None
    test_with_duplicates: BothHeads | None
    test_at_own_thresholds: TestedScores | None
    operating_points: OperatingPoints | None
    subgroups: Subgroups | None
    personal: Personal | None


class LeftOut(Frozen):
    file: str
    split: str
    modality: Literal["xray", "ct"]
    same_as_site: str


class Central(Frozen):
    """The server's own images; ``left_out`` are test images that are trained on or select the model."""

    data: Passport | None
    fingerprint: str | None
    left_out: Annotated[tuple[LeftOut, ...], Field(strict=False)]


class Bounded(Frozen):
    """The figure of the images themselves lies between ``lowest`` and ``highest``."""

    value: float
    lowest: float
    highest: float


class PooledFigures(Frozen):
    present: Number | None
    absent: Number | None
    roc_auc: Bounded | None
    pr_auc: Bounded | None
    calibration_error: Bounded | None
    reason: str | None
    hospitals: Annotated[tuple[str, ...], Field(strict=False)]


class BySite(Frozen):
    groups: dict[str, Group]


class PooledBySite(Frozen):
    disease: BySite
    cancer: BySite


class Pooled(Frozen):
    """The selected model on all hospitals' own test images together, from histograms of its scores. ``by_site`` is null
    in what one hospital is given."""

    bins: Number
    disease: dict[str, PooledFigures]
    cancer: dict[str, PooledFigures]
    by_site: PooledBySite | None


class Selected(Frozen):
    """``weights``: what a label counts for in the mean area (evaluation.selection_weights)."""

    metric: str
    value: float | None
    weights: str = "equal"


class PeakMemory(Frozen):
    """In MB."""

    server: Positive | None
    sites: Positive | None


class Totals(Frozen):
    """Bytes as the server sees them."""

    seconds: Positive | None
    bytes_sent: Number
    bytes_received: Number
    peak_memory_mb: PeakMemory


class Labels(Frozen):
    """In the order of the model's outputs."""

    findings: Annotated[tuple[str, ...], Field(strict=False)]
    cancer_classes: Annotated[tuple[str, ...], Field(strict=False)]


class Masks(Frozen):
    """Updates were masked: ``smallest_sum`` hospitals or more stand behind each part of a sum, and ``threshold`` must
    help to unmask one. ``roster`` is the spoken fingerprint of the list that the hospitals trust; null in a simulation,
    and before the first masked round."""

    smallest_sum: Number
    threshold: Number
    roster: str | None


class Privacy(Frozen):
    """``privacy`` of the experiment, the ``noise`` multiplier that it asks for, of which ``shared`` hospitals add a
    part each, and by hospital the steps taken and the epsilon that these have ``spent``, of ``delta``. In a simulation
    the noise comes from the seed and protects nobody."""

    mechanism: Literal["local", "distributed"]
    epsilon: Positive
    delta: Positive
    clip: Positive
    sampling_rate: Share
    steps: Number
    images_per_patient: Number
    patients: Number
    colluding: Number
    noise: Positive
    shared: Number
    accountant: str
    steps_taken: dict[str, Number]
    spent: dict[str, Positive]


class Resumed(Frozen):
    after_round: Number
    time: str


class Run(Frozen):
    """Everything that a run has measured. ``undefined``: by place what was not finite and is null instead."""

    schema_version: Literal[3]
    name: str
    run: str
    mode: Literal["consortium", "simulate", "train"]
    status: Status
    error: str | None
    seed: int
    strategy: str
    masks: Masks | None = None
    privacy: Privacy | None = None
    config_sha256: str
    started: str
    finished: str | None
    resumed: Annotated[tuple[Resumed, ...], Field(strict=False)]
    versions: dict[str, str]
    labels: Labels
    sites: dict[str, SiteRecord]
    central: Central
    statistics: dict[str, JsonValue] | None
    rounds: Annotated[tuple[Round, ...], Field(strict=False)]
    best_round: Number | None
    selection: Selected
    stopped_early: bool
    operating_points: ChosenPoints | None
    test: CentralTest | None
    test_with_duplicates: BothHeads | None
    pooled: Pooled | None
    totals: Totals
    undefined: dict[str, str] = Field(default_factory=dict)

    @property
    def last_round(self) -> int:
        """0 where only the untrained model was scored, or nothing."""
        return max((entry.round for entry in self.rounds), default=0)

    @property
    def scored_round(self) -> Round | None:
        """The round whose validation scores are shown: the selected one, or the last."""
        best = [entry for entry in self.rounds if entry.round == self.best_round]
        return best[0] if best else self.rounds[-1] if self.rounds else None

    @property
    def passports(self) -> dict[str, Passport | None]:
        """What each hospital described."""
        return {name: site.data for name, site in self.sites.items()}

    @property
    def largest_site(self) -> str | None:
        """The hospital with most training pairs, which costs most to lose; None where none stands out."""
        return largest_site({name: data.pairs if data else 0 for name, data in self.passports.items()})


def largest_site(pairs: Mapping[str, int]) -> str | None:
    """Of the training pairs by hospital, the largest hospital; None where none stands out."""
    ranked = sorted(pairs.items(), key=lambda item: item[1], reverse=True)
    if not ranked or not ranked[0][1] or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return None
    return ranked[0][0]


def read_run(metrics: Mapping[str, Any]) -> Run:
    """As ``checked_run``, of a file of before too."""
    if metrics.get("schema_version") == 2:
        metrics = {**completed(Run, plain_value(metrics, "metrics")), "schema_version": SCHEMA_VERSION}
    return checked_run(metrics)


def checked_run(metrics: Mapping[str, Any]) -> Run:
    """The content of metrics.json as a Run. A number that is not finite becomes null, and ``undefined`` says where and
    what it was. ValueError names the first field that is not one of a Run."""
    undefined: dict[str, str] = {}
    value = plain_value(metrics, "metrics", undefined)
    if undefined:
        value["undefined"] = {**value.get("undefined", {}), **undefined}
    try:
        return Run.model_validate_json(json.dumps(value, ensure_ascii=False))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"metrics.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def run_schema() -> dict[str, Any]:
    """JSON Schema of metrics.json (draft 2020-12), as docs/metrics.schema.json holds it."""
    schema = Run.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(run_schema(), indent=1, ensure_ascii=False))
