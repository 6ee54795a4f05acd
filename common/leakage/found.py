"""``leakage.json`` as types: what was tried, and what it found. Every share and area has its interval or a reason."""

import json
from typing import Any, Literal

from pydantic import Field

from fedthorax.common.ground.frozen import Frozen

Interval = tuple[float, float]
Modality = Literal["xray", "ct"]
Units = Literal["patients", "images"]
Seen = Literal["plain", "masked words", "masked sum"]


class Share(Frozen):
    """``hits`` of ``of``, with the exact (Clopper-Pearson) 95 % interval."""

    hits: int = Field(ge=0)
    of: int = Field(ge=0)
    value: float | None
    interval: Interval | None


class Area(Frozen):
    """ROC-AUC: 0.5 is guessing, 1 tells everybody apart. 95 % interval from resampled patients."""

    value: float | None
    interval: Interval | None


class Attack(Frozen):
    """``found``: members above the score that at most one in a hundred of the others reaches."""

    area: Area
    found: Share


class Group(Frozen):
    name: str
    members: int
    others: int
    area: Area
    found: Share


class Patients(Frozen):
    """Over all reference runs as targets: for each patient the share of pairs of a run with and a run without him that
    the attack puts in the right order. ``bins`` counts patients below 0.5, 0.7, 0.9, 0.95 and from there to 1."""

    patients: int
    median: float
    tenth_highest: float
    bins: tuple[int, int, int, int, int]
    almost_surely: Share


class Membership(Frozen):
    """``target``: the model of the run, or the first of the reference runs. ``modality``: of which images. ``shuffled``
    and ``members_against_members``: the area where nothing is to be found, mean and middle 95 % of many draws."""

    target: Literal["run", "reference"]
    modality: Modality
    units: Units
    members: int
    others: int
    attacks: dict[str, Attack]
    shuffled: Area
    members_against_members: Area
    groups: tuple[Group, ...]
    patients: Patients


class Update(Frozen):
    """What one update of the first round gives the server. ``seen``: as it is; one hospital's masked words; the sum of
    all hospitals, which is what the server learns under masks. Errors are of shares of positives, means over labels;
    ``guess`` that of the server's own images. ``cosine``: of features of the first dense layer, common part removed,
    with the nearest image: the hospital's, and strangers'."""

    hospital: str
    modality: Modality
    seen: Seen
    label_error: float | None
    label_guess: float | None
    cosine: float | None
    cosine_others: float | None
    features: Area
    alignment: Area


class Audit(Frozen):
    """Of ``canaries``, each in with probability 1/2, ``guesses`` were made and ``right`` ones among them: no training
    with a smaller epsilon would do that in 95 of 100 audits. ``most`` is what so many canaries can show at best;
    ``claimed`` what the training promises, ``broken`` whether it was found to leak more."""

    canaries: int
    guesses: int
    right: int
    epsilon: float
    most: float
    delta: float
    claimed: float | None
    broken: bool


class HospitalGuess(Frozen):
    """How often members with a label are put to their hospital, a mean over hospitals, beside what shuffled hospitals
    give; ``p`` is corrected for all labels (Holm)."""

    label: str
    patients: int
    accuracy: float
    shuffled: Interval
    p: float


class Leakage(Frozen):
    """The whole of leakage.json. ``not_tried`` says what was left out, and why."""

    schema_version: Literal[1] = 1
    name: str
    software_version: str
    target: str
    seed: int
    patients: int
    left_out_images: int
    reference_runs: int
    rounds: int
    dropout: float
    membership: tuple[Membership, ...]
    updates: tuple[Update, ...]
    audit: Audit | None
    hospital_guesses: tuple[HospitalGuess, ...]
    tried: tuple[str, ...]
    not_tried: tuple[str, ...]


def leakage_schema() -> dict[str, Any]:
    """JSON Schema of leakage.json (draft 2020-12), as docs/leakage.schema.json holds it."""
    schema = Leakage.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(leakage_schema(), indent=1, ensure_ascii=False))
