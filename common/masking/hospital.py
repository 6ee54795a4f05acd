"""A hospital's half of masking: what it masks, what it deals, and what it gives back of the shares that it holds.

What it remembers lies in one file a run: its key and secret, and by round the context, the digest of what it masked and
of what it was asked for shares. It masks one update a round, and answers one such question.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import Field, ValidationError

from fedthorax.common.ground.atomic_write import PRIVATE, write_bytes
from fedthorax.common.ground.frozen import Frozen
from fedthorax.common.ground.strict_json import canonical_json
from fedthorax.common.masking import masks
from fedthorax.common.masking.keys import Roster, RunKey, check_run_key, raw, roster_digest, signed_run_key
from fedthorax.common.masking.opening import Opening, threshold
from fedthorax.common.masking.shares import Kept, Keys, asked_for, deal, opened, sealed
from fedthorax.common.masking.words import Group, Words

OTHER_KEY = "the round's keys lack this hospital's own, or have another in its place"
KEPT_ROUNDS = 3  # of a run, the newest: a server that goes on from an earlier one is refused


class MaskedRound(Frozen):
    """``masked`` is the digest of the words before they were masked, ``asked`` that of the hospitals for whose sum
    shares were given, and of what they had dealt; None where none were asked for yet."""

    context: str
    masked: str
    opening: Opening
    groups: tuple[Group, ...]
    asked: str | None = None


@dataclass(frozen=True)
class Masked:
    """What leaves of an update: the words of each domain, a commitment to each key, and by hospital its shares."""

    context: str
    words: Mapping[int, Words]
    commitments: Mapping[Kept, str]
    shares: Mapping[str, str]


class RunState(Frozen):
    """A hospital's secrets of one run, and what it has done in each round. ``identity``: made up, for a simulation."""

    key: str
    secret: str
    identity: str
    rounds: Annotated[dict[int, MaskedRound], Field(strict=False)] = Field(default_factory=dict)


@dataclass(frozen=True)
class Masking:
    """One hospital in one run. ``experiment`` is the experiment's digest, ``hospitals`` how many it names, ``trusted``
    the roster that the hospital has pinned; it and ``identity`` are None in a simulation. ``smallest``: behind each
    part of a sum stand at least so many hospitals; ``least``: a sum is of at least so many."""

    path: Path
    identity: Ed25519PrivateKey | None
    trusted: Roster | None
    run: str
    site: str
    experiment: str
    hospitals: int
    smallest: int
    least: int

    @property
    def fewest(self) -> int:
        """Hospitals in a sum that this one helps to unmask."""
        return max(threshold(self.hospitals), self.smallest, self.least)

    def run_key(self, contributes: tuple[str, ...]) -> RunKey:
        """The hospital's key for the run, the same whenever it is asked."""
        roster = roster_digest(self.trusted) if self.trusted is not None else ""
        state = _remembered(self.path)
        key = self._key(state)
        identity = self.identity or Ed25519PrivateKey.from_private_bytes(bytes.fromhex(state.identity))
        return signed_run_key(identity, key, roster, contributes, self.run, self.site, self.experiment)

    def masked(
        self,
        number: int,
        opening: Opening,
        phase: int,
        learning_rate: float,
        groups: Sequence[Group],
        words: Mapping[int, Words],
    ) -> Masked:
        """``words`` are the hospital's by the number of the group that masks them, one for each that it belongs to.

        ValueError names what is wrong with the opening, or says that another update was masked for this round before.
        """
        self.check_opening(opening)
        state = _remembered(self.path)
        context = opening.context(self.run, number, self.experiment, phase, learning_rate)
        every = hashlib.sha256()
        for at in sorted(words):
            every.update(words[at].data)
        digest = every.hexdigest()
        before = state.rounds.get(number)
        if before is not None and (before.context, before.masked) != (context, digest):
            raise ValueError(f"another update was masked for round {number} before: two of one round tell more")
        if before is None and state.rounds and number < max(state.rounds):
            raise ValueError(f"an update of round {max(state.rounds)} was masked before; there is none of {number} now")
        done = before or MaskedRound(context=context, masked=digest, opening=opening, groups=tuple(groups))
        _keep(self.path, state, number, done)
        secret, pairs = bytes.fromhex(state.secret), self._pair_secrets(state, opening)
        keys = {
            at: Keys(
                masks.own_key(secret, context, at, own),
                {
                    other: masks.pair_key(pairs[other], context, at, self.site, other)
                    for other in groups[at].members
                    if other != self.site
                },
            )
            for at, own in words.items()
        }
        dealt = deal(groups, self.site, keys, sorted(opening.keys), threshold(self.hospitals))
        return Masked(
            context,
            {at: masks.mask(own, self.site, keys[at].own, keys[at].pairs) for at, own in words.items()},
            {
                (at, self.site, other): masks.commitment(key)
                for at, held in keys.items()
                for other, key in {"": held.own, **held.pairs}.items()
            },
            {
                other: sealed(self._sealing(pairs, state, context, self.site, other), context, shares)
                for other, shares in dealt.items()
            },
        )

    def shares(self, number: int, context: str, taken: Sequence[str], dealt: Mapping[str, str]) -> dict[Kept, str]:
        """The hospital's shares, in hexadecimal, for the sum of the hospitals that are ``taken``, out of what these
        have ``dealt`` to it. The same question is answered alike, another one of the same round is refused: not even
        shares that a hospital has dealt twice, as one that was set back does, can be had both."""
        state = _remembered(self.path)
        done = state.rounds.get(number)
        if done is None or done.context != context:
            raise ValueError(f"this hospital has masked nothing in round {number} under this context")
        wanted = tuple(sorted(set(taken)))
        if strangers := sorted(set(wanted) - set(done.opening.keys)):
            raise ValueError(f"{', '.join(strangers)}: a hospital that had no part in round {number} is in its sum")
        if len(wanted) < self.fewest:
            raise ValueError(
                f"a sum of {len(wanted)} hospitals; this hospital helps to unmask one of {self.fewest} or more"
            )
        asked = hashlib.sha256(canonical_json([[site, dealt.get(site, "")] for site in wanted]).encode()).hexdigest()
        if done.asked not in (None, asked):
            raise ValueError(f"this hospital has helped to unmask another sum of round {number}")
        _keep(self.path, state, number, done.model_copy(update={"asked": asked}))  # before anything is told
        pairs, found = self._pair_secrets(state, done.opening), dict[Kept, bytes]()
        for dealer in wanted:
            key = self._sealing(pairs, state, context, dealer, self.site)
            with contextlib.suppress(ValueError):  # the shares of the others may be enough
                found |= opened(key, context, dealt.get(dealer, ""), done.groups, dealer)
        return {slot: found[slot].hex() for slot in asked_for(done.groups, wanted, self.smallest) if slot in found}

    def check_opening(self, opening: Opening) -> None:
        """ValueError unless every key of the round is a hospital's that this one trusts, and its own is its own."""
        if self.site not in opening.keys or opening.keys[self.site].key != self._public(_remembered(self.path)):
            raise ValueError(OTHER_KEY)
        if not self.fewest <= len(opening.keys) <= self.hospitals:
            raise ValueError(
                f"the round has {len(opening.keys)} hospitals, expected {self.fewest} to {self.hospitals} of them"
            )
        for site, told in opening.keys.items():
            check_run_key(told, self.run, site, self.experiment, self.trusted)
        if len({told.key for told in opening.keys.values()}) < len(opening.keys):
            raise ValueError("two hospitals of the round have the same key")

    def _pair_secrets(self, state: RunState, opening: Opening) -> dict[str, bytes]:
        key = self._key(state)
        return {
            other: masks.pair_secret(key, told.key, self.run)
            for other, told in opening.keys.items()
            if other != self.site
        }

    def _sealing(self, pairs: Mapping[str, bytes], state: RunState, context: str, sender: str, receiver: str) -> bytes:
        """A hospital seals what it deals to itself too, under its own secret."""
        other = receiver if sender == self.site else sender
        secret = bytes.fromhex(state.secret) if other == self.site else pairs[other]
        return masks.sealing_key(secret, context, sender, receiver)

    @staticmethod
    def _key(state: RunState) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(bytes.fromhex(state.key))

    def _public(self, state: RunState) -> str:
        return raw(self._key(state).public_key()).hex()


def end_run(path: Path) -> None:
    """The run is over: its secrets go. What was done in its rounds stays known, so none can be done again; a run that
    gets more rounds gets a new key."""
    if path.is_file():
        try:
            _keep(path, _new_secrets(_remembered(path)))
        except ValueError:  # damaged: nothing can be made of the secrets either
            path.unlink()


def _remembered(path: Path) -> RunState:
    """What is remembered of the run; begun anew where nothing is. ValueError where it is damaged."""
    if not path.is_file():
        state = _new_secrets(RunState(key="", secret="", identity=secrets.token_hex(32)))
        _keep(path, state)
        return state
    try:
        return RunState.model_validate_json(path.read_bytes())
    except ValidationError:  # its words would quote the secrets
        raise ValueError(
            f"{path}: what the hospital remembers of the run's masks is damaged; remove the file there, and it goes on "
            "with a new key"
        ) from None


def _keep(path: Path, state: RunState, number: int = 0, done: MaskedRound | None = None) -> None:
    rounds = state.rounds if done is None else {**state.rounds, number: done}
    newest = {key: rounds[key] for key in sorted(rounds)[-KEPT_ROUNDS:]}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = state.model_copy(update={"rounds": newest}).model_dump_json() + "\n"
    write_bytes(path, (text.encode(),), PRIVATE)


def _new_secrets(state: RunState) -> RunState:
    return state.model_copy(update={"key": secrets.token_hex(32), "secret": secrets.token_hex(32)})
