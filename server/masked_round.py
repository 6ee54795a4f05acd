"""A masked round as the server sees it: words that mean nothing are added, and the sum is unmasked with the shares that
the hospitals give back. Nothing of one hospital can be read, also not what it would weigh.

What the server has to say again after a crash is on disk before it is said: the opening before the first task, the sum
and whose words are in it before shares are asked for. Hospitals answer for one set of hospitals a round.
"""

import contextlib
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from fedthorax.common.algorithms.aggregation import MaskedSum
from fedthorax.common.ground.atomic_write import replacing, write_text
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.masking.keys import RunKey
from fedthorax.common.masking.masks import add_mask, commitment, sign_of
from fedthorax.common.masking.opening import Opening, threshold
from fedthorax.common.masking.shares import Kept, asked_for
from fedthorax.common.masking.sharing import combine
from fedthorax.common.masking.words import Domain, Weights, name_of, sums_of
from fedthorax.common.messages.masking import MaskedTold
from fedthorax.common.messages.message import PackedSegments

_MOST_TRIES = 400  # sets of shares, where some of them do not belong to the key


class Closed(Frozen):
    """Whose words are in the sum, and what the second message takes: ``dealt`` by receiver and dealer."""

    context: str
    taken: tuple[str, ...]
    dealt: dict[str, dict[str, str]]
    commitments: tuple[tuple[int, str, str, str], ...]


def opening_of(folder: Path, number: int, model: Mapping[str, str], keys: Mapping[str, RunKey]) -> tuple[Opening, bool]:
    """The round's opening, and whether it was told before: then it is told again, whoever is there now, because a
    hospital masks under one opening a round."""
    path = folder / f"opening-{number:04d}.json"
    with contextlib.suppress(FileNotFoundError, ValidationError):  # a damaged one cannot be told again
        before = Opening.model_validate_json(path.read_bytes())
        if before.model == dict(model):
            return before, True
    opening = Opening(nonce=secrets.token_hex(32), model=dict(model), keys=dict(keys))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, opening.model_dump_json() + "\n")
    return opening, False


@dataclass
class MaskedRound:
    """``hospitals`` is how many the experiment names; ``smallest``: so many must stand behind each part of a sum, and
    ``required`` hospitals be in it. ``again``: the opening was told before."""

    folder: Path
    number: int
    context: str
    domains: tuple[Domain, ...]
    opening: Opening
    hospitals: int
    smallest: int
    required: int = 0
    again: bool = False
    taken: set[str] = field(default_factory=set)
    closed: Closed | None = None
    wrong: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._totals = {number: np.zeros(domain.num_words(), np.uint64) for number, domain in enumerate(self.domains)}
        self._dealt: dict[str, dict[str, str]] = {}
        self._commitments: dict[Kept, str] = {}
        self._load()

    @property
    def fewest(self) -> int:
        """Updates without which no hospital helps to unmask the sum."""
        return max(threshold(self.hospitals), self.smallest, self.required)

    def add(self, site: str, told: MaskedTold, words: PackedSegments) -> None:
        """A hospital's masked words. ValueError, with nothing added, where they are not those of this round."""
        if told.context != self.context:
            raise ValueError("the update is masked for another round, model or set of hospitals")
        mine = {number: domain for number, domain in enumerate(self.domains) if site in domain.group.members}
        if set(words) != {name_of(number) for number in mine}:
            raise ValueError(f"the update holds {', '.join(sorted(words)) or 'nothing'}, expected {len(mine)} parts")
        came = {number: words[name_of(number)] for number in mine}
        for number, data in came.items():
            if data.size != 8 * self._totals[number].size:
                raise ValueError(f"{data.size} bytes of masked words, expected {8 * self._totals[number].size}")
        expected = {(number, site, other) for number in mine for other in ("", *self._others(number, site))}
        commitments = {(each.domain, site, each.other or ""): each.commitment for each in told.commitments}
        shares = {each.hospital: each.sealed for each in told.shares}
        if set(commitments) != expected or set(shares) != set(self.opening.keys):
            raise ValueError("the update does not deal a share of each of its masks' keys to each hospital")
        if self.closed is not None:
            return  # what counts is the sum that shares were asked for
        for number, data in came.items():
            self._totals[number] += data.view("<u8")
        self._commitments |= commitments
        for receiver, text in shares.items():
            self._dealt.setdefault(receiver, {})[site] = text
        self.taken.add(site)

    def close(self) -> Closed:
        """No more words are taken: from now on the sum is of ``taken``. Written down before it returns."""
        if self.closed is None:
            commitments = tuple((*slot, value) for slot, value in self._commitments.items())
            self.closed = Closed(
                context=self.context, taken=tuple(sorted(self.taken)), dealt=self._dealt, commitments=commitments
            )
            with replacing(self._sum_path) as file:
                np.savez(file, **{name_of(number): total for number, total in self._totals.items()})  # type: ignore[arg-type]
            write_text(self._closed_path, self.closed.model_dump_json() + "\n")
        return self.closed

    def unmasked(self, given: Mapping[str, Mapping[Kept, str]], before: Weights) -> list[MaskedSum]:
        """The sums of the parts, out of the shares that hospitals have ``given``. ``before`` is the round's model.

        ``wrong`` are then those whose shares did not fit. ValueError where the shares of a key are too few, or belong
        to no key that was promised.
        """
        closed = self.close()
        taken, places = set(closed.taken), {site: place for place, site in enumerate(sorted(self.opening.keys), 1)}
        promised = {(number, site, other): text for number, site, other, text in closed.commitments}
        groups, found = [domain.group for domain in self.domains], list[MaskedSum]()
        for slot in asked_for(groups, closed.taken, self.smallest):
            number, site, other = slot
            shares = {
                places[giver]: bytes.fromhex(slots[slot])
                for giver, slots in given.items()
                if slot in slots and giver not in self.wrong
            }
            key, wrong = _key(shares, threshold(self.hospitals), promised[slot], f"{site}'s mask")
            self.wrong |= {giver for giver, place in places.items() if place in wrong}
            add_mask(self._totals[number], key, -sign_of(site, other) if other else -1)
        for number, domain in enumerate(self.domains):
            if domain.group.may_be_summed(taken, self.smallest):
                found += sums_of(domain, self._totals[number], before)
        if not found:
            raise ValueError(f"fewer than {self.smallest} hospitals are left behind every part of the model")
        return found

    def _others(self, number: int, site: str) -> list[str]:
        return [other for other in self.domains[number].group.members if other != site]

    def _load(self) -> None:
        try:
            closed = Closed.model_validate_json(self._closed_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return  # hospitals that have helped with another sum refuse a new one, so nothing is told twice
        if closed.context == self.context:
            with self._sum_path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                self._totals = {number: content[name_of(number)] for number in self._totals}
            self.closed, self.taken = closed, set(closed.taken)

    @property
    def _sum_path(self) -> Path:
        return self.folder / f"sum-{self.number:04d}.npz"

    @property
    def _closed_path(self) -> Path:
        return self.folder / f"closed-{self.number:04d}.json"


def forget(folder: Path, before: int) -> None:
    """Remove what was kept of the rounds ``before`` this one. The last closed one stays: where its checkpoint turns out
    to be damaged the round is done again, and its hospitals answer for the same sum only."""
    for path in folder.glob("*-[0-9]*.*"):
        if int(path.stem.rpartition("-")[2]) < before:
            path.unlink(missing_ok=True)


def _key(shares: Mapping[int, bytes], needed: int, promised: str, whose: str) -> tuple[bytes, set[int]]:
    """The key that fits the promise, and the points whose shares do not belong to it. A wrong share spoils what it is
    combined with, so sets are drawn until one has none."""
    if len(shares) < needed:
        raise ValueError(f"{len(shares)} hospitals gave a share of {whose}, {needed} are needed")
    points, drawn = sorted(shares), random.Random(0)

    def found(chosen: Sequence[int]) -> bytes | None:
        with contextlib.suppress(ValueError):  # some of these shares are wrong: others may do
            key = combine({point: shares[point] for point in chosen}, needed)
            return key if commitment(key) == promised else None
        return None

    chosen = points[:needed]
    if (key := found(chosen)) is not None:
        return key, set()
    for _ in range(_MOST_TRIES):
        chosen = drawn.sample(points, needed)
        if (key := found(chosen)) is not None:
            rest = [point for point in points if point not in chosen]
            return key, {point for point in rest if found([*chosen[1:], point]) is None}
    raise ValueError(f"the shares of {whose} do not give the key that was promised")
