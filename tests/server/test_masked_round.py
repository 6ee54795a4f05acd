"""A whole masked round between hospitals and a server, honest and lying, without processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedthorax.common.algorithms.branchwise import FederatedAverage, Part
from fedthorax.common.masking.hospital import Masking
from fedthorax.common.masking.keys import _statement, check_run_key, raw, roster_digest, spoken
from fedthorax.common.masking.masks import add_mask, mask, sign_of
from fedthorax.common.masking.opening import Opening, domains_of, threshold
from fedthorax.common.masking.sharing import combine
from fedthorax.common.masking.words import words_of
from fedthorax.common.messages.masking import MaskedTold, Unmasked
from fedthorax.server.masked_round import MaskedRound, forget, name_of, opening_of

SIZES = {"xray": 6, "ct": 5, "disease": 4}
STATISTICS = {"ct": (slice(3, 5),)}
FINDINGS = ("Mass", "Nodule")
PARTS = (
    Part("xray", slice(0, 6), "xray"),
    Part("ct", slice(0, 5), "ct"),
    Part("disease", slice(0, 4, 2), "findings", 0),
    Part("disease", slice(1, 4, 2), "findings", 1),
)
EXPERIMENT = "e" * 64
RATE = 0.001


def names(number: int) -> list[str]:
    return [f"hospital-{place:02d}" for place in range(number)]


@dataclass
class Consortium:
    """Hospitals with identities that trust one roster, a model, and an update with counts for each."""

    folder: Path
    sites: Sequence[str]
    by_branch: bool = True
    smallest: int = 3
    without_ct: Sequence[str] = ()
    updates: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    counts: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(5)
        self.model = {name: random.normal(size=size).astype(np.float32) for name, size in SIZES.items()}
        self.identities = {site: Ed25519PrivateKey.generate() for site in self.sites}
        self.roster = {site: raw(key.public_key()).hex() for site, key in self.identities.items()}
        for place, site in enumerate(self.sites):
            update = {n: v + random.normal(scale=0.1, size=v.size).astype(np.float32) for n, v in self.model.items()}
            update["ct"][3:] = 1e6 + place  # statistics may be anywhere
            ct = 0 if site in self.without_ct else 7 + place
            if not ct:
                del update["ct"]
            self.updates[site] = update
            self.counts[site] = {"xray": 3 + place, "ct": ct, "findings": [1 + place, 2], "fusion": 4}

    def hospital(self, site: str, roster: Mapping[str, str] | None = None, least: int = 1) -> Masking:
        trusted = self.roster if roster is None else roster
        identity = self.identities[site]
        path = self.folder / site / "masking.json"
        return Masking(path, identity, trusted, "run", site, EXPERIMENT, len(self.sites), self.smallest, least)

    def contributes(self, site: str) -> tuple[str, ...]:
        counts = self.counts[site]
        return tuple(name for name in ("xray", "ct") if counts[name]) + FINDINGS

    def opening(self, number: int = 1) -> Opening:
        keys = {site: self.hospital(site).run_key(self.contributes(site)) for site in self.sites}
        return opening_of(self.folder / "lead", number, dict.fromkeys(SIZES, "0" * 64), keys)[0]

    def round(self, opening: Opening, number: int = 1) -> MaskedRound:
        context = opening.context("run", number, EXPERIMENT, 0, RATE)
        domains = self.domains(opening)
        return MaskedRound(self.folder / "lead", number, context, domains, opening, len(self.sites), self.smallest)

    def domains(self, opening: Opening):
        return domains_of(opening, PARTS, SIZES, STATISTICS, FINDINGS, self.by_branch, self.smallest)

    def weights(self, site: str, parts: Sequence[Part]) -> list[int]:
        counts = self.counts[site]
        return [part.weight(counts) if self.by_branch else int(counts["fusion"]) for part in parts]

    def masked(self, site: str, opening: Opening, number: int = 1, hospital: Masking | None = None):
        domains = self.domains(opening)
        words = {
            at: words_of(domain, self.updates[site], self.model, self.weights(site, domain.parts), len(self.sites))
            for at, domain in enumerate(domains)
            if site in domain.group.members
        }
        groups = [domain.group for domain in domains]
        return (hospital or self.hospital(site)).masked(number, opening, 0, RATE, groups, words)

    def send(self, masked_round: MaskedRound, site: str, opening: Opening, number: int = 1) -> None:
        masked = self.masked(site, opening, number)
        packed = {name_of(at): words.view(np.uint8) for at, words in masked.words.items()}
        masked_round.add(site, MaskedTold.of(masked), packed)

    def unmask(self, masked_round: MaskedRound, silent: Sequence[str] = ()):
        closed = masked_round.close()
        given = {}
        for site in closed.taken:
            if site not in silent:
                dealt = closed.dealt[site]
                shares = self.hospital(site).shares(masked_round.number, closed.context, closed.taken, dealt)
                given[site] = Unmasked.of(shares).by_slot()
        return masked_round.unmasked(given, self.model)

    def plain(self, sites: Sequence[str]) -> dict[str, np.ndarray]:
        average = FederatedAverage(SIZES, PARTS)
        for site in sites:
            average.add(self.updates[site], self.counts[site])
        return average.result(self.model)


def averaged(sums, model) -> dict[str, np.ndarray]:
    average = FederatedAverage(SIZES, PARTS)
    average.add_sums(sums)
    return average.result(model)


def same(one, other) -> bool:
    return all(np.array_equal(one[name].view(np.int32), other[name].view(np.int32)) for name in SIZES)


@pytest.mark.parametrize("number", [3, 4, 7, 50])
def test_a_masked_mean_has_the_bits_of_the_plain_one(tmp_path, number):
    consortium = Consortium(tmp_path, names(number))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in reversed(consortium.sites):
        consortium.send(masked_round, site, opening)
    found = averaged(consortium.unmask(masked_round), consortium.model)
    assert same(found, consortium.plain(consortium.sites))


def test_hospitals_without_ct_mask_the_other_parts_alone(tmp_path):
    consortium = Consortium(tmp_path, names(5), without_ct=names(5)[:2])
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites:
        consortium.send(masked_round, site, opening)
    found = averaged(consortium.unmask(masked_round), consortium.model)
    assert same(found, consortium.plain(consortium.sites))


def test_a_part_with_too_few_hospitals_stays_as_it_was(tmp_path):
    consortium = Consortium(tmp_path, names(4), without_ct=names(4)[:2])
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites:
        consortium.send(masked_round, site, opening)
    sums = consortium.unmask(masked_round)
    assert {each.segment for each in sums} == {"xray", "disease"}
    assert np.array_equal(averaged(sums, consortium.model)["ct"], consortium.model["ct"])


def test_a_part_that_too_few_are_left_of_stays_masked_and_the_others_are_summed(tmp_path):
    consortium = Consortium(tmp_path, names(5), without_ct=names(5)[:2])
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    there = consortium.sites[:4]  # one of three with CT drops out
    for site in there:
        consortium.send(masked_round, site, opening)
    sums = consortium.unmask(masked_round)
    assert {each.segment for each in sums} == {"xray", "disease"}
    assert np.array_equal(averaged(sums, consortium.model)["xray"], consortium.plain(there)["xray"])


def test_those_who_drop_out_before_their_update_are_unmasked_from_the_others_shares(tmp_path):
    consortium = Consortium(tmp_path, names(7))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    there = consortium.sites[:5]
    for site in there:
        consortium.send(masked_round, site, opening)
    found = averaged(consortium.unmask(masked_round), consortium.model)
    assert same(found, consortium.plain(there))


def test_at_the_threshold_the_sum_is_found_and_below_it_not(tmp_path):
    consortium = Consortium(tmp_path, names(7))
    assert threshold(7) == 5
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites:
        consortium.send(masked_round, site, opening)
    masked_round.close()
    with pytest.raises(ValueError, match="4 hospitals gave a share"):
        consortium.unmask(consortium.round(opening), silent=consortium.sites[:3])
    found = averaged(consortium.unmask(consortium.round(opening), silent=consortium.sites[:2]), consortium.model)
    assert same(found, consortium.plain(consortium.sites))


def test_fewer_updates_than_the_threshold_are_not_unmasked_by_any_hospital(tmp_path):
    consortium = Consortium(tmp_path, names(7))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites[:4]:
        consortium.send(masked_round, site, opening)
    with pytest.raises(ValueError, match="a sum of 4 hospitals; this hospital helps to unmask one of 5 or more"):
        consortium.unmask(masked_round)


def test_a_server_that_was_killed_asks_for_the_same_sum_again(tmp_path):
    consortium = Consortium(tmp_path, names(4))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites[:3]:
        consortium.send(masked_round, site, opening)
    masked_round.close()
    again = consortium.opening()
    assert again == opening
    after = consortium.round(again)
    consortium.send(after, consortium.sites[3], again)  # comes too late to be in the sum
    found = averaged(consortium.unmask(after), consortium.model)
    assert same(found, consortium.plain(consortium.sites[:3]))


def test_what_was_kept_of_earlier_rounds_goes_and_the_last_one_stays(tmp_path):
    consortium = Consortium(tmp_path, names(3))
    for number in (1, 2):
        opening = consortium.opening(number)
        masked_round = consortium.round(opening, number)
        for site in consortium.sites:
            consortium.send(masked_round, site, opening, number)
        masked_round.close()
    forget(tmp_path / "lead", 2)
    assert sorted(path.name for path in (tmp_path / "lead").iterdir()) == [
        "closed-0002.json", "opening-0002.json", "sum-0002.npz",
    ]  # fmt: skip


def test_a_hospital_with_a_wrong_share_does_not_spoil_the_sum(tmp_path):
    consortium = Consortium(tmp_path, names(4))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites:
        consortium.send(masked_round, site, opening)
    closed, given = masked_round.close(), {}
    for site in closed.taken:
        given[site] = consortium.hospital(site).shares(1, closed.context, closed.taken, closed.dealt[site])
    given[closed.taken[0]] = dict.fromkeys(given[closed.taken[0]], "00" * 33)
    assert same(
        averaged(masked_round.unmasked(given, consortium.model), consortium.model), consortium.plain(closed.taken)
    )


def test_words_that_come_late_stay_under_their_own_mask(tmp_path):
    """Everything that message 2 reveals of a hospital counted as dropped out, and its words after all."""
    consortium = Consortium(tmp_path, names(4))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    late, there = consortium.sites[0], consortium.sites[1:]
    for site in there:
        consortium.send(masked_round, site, opening)
    closed = masked_round.close()
    given = {
        site: consortium.hospital(site).shares(1, closed.context, closed.taken, closed.dealt[site]) for site in there
    }
    points = {site: place for place, site in enumerate(consortium.sites, 1)}
    slots = set().union(*given.values())
    assert not {slot for slot in slots if slot[1] == late or (slot[1], slot[2]) == (late, "")}
    masked = consortium.masked(late, opening)
    for number, words in masked.words.items():
        bare = words.copy()
        for site in there:
            shares = {points[giver]: bytes.fromhex(found[number, site, late]) for giver, found in given.items()}
            add_mask(bare, combine(shares, threshold(4)), -sign_of(late, site))
        domain = consortium.domains(opening)[number]
        own = words_of(domain, consortium.updates[late], consortium.model, consortium.weights(late, domain.parts), 4)
        assert not np.any(bare == own)


def test_shares_that_were_dealt_again_are_not_given_beside_the_first(tmp_path):
    consortium = Consortium(tmp_path, names(3))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites:
        consortium.send(masked_round, site, opening)
    closed = masked_round.close()
    hospital, dealt = consortium.hospital("hospital-00"), closed.dealt["hospital-00"]
    hospital.shares(1, closed.context, closed.taken, dealt)
    again = consortium.masked("hospital-01", opening).shares["hospital-00"]
    assert again[:24] != dealt["hospital-01"][:24]  # each dealing has its own nonce
    with pytest.raises(ValueError, match="has helped to unmask another sum of round 1"):
        hospital.shares(1, closed.context, closed.taken, {**dealt, "hospital-01": again})


def test_masked_words_are_uniform_whatever_they_hide(tmp_path):
    """Chi-squared of the 256 values of a byte: 255 degrees of freedom, below 400 but once in ten million."""
    for number, update in enumerate((np.zeros(100_000, np.uint64), np.arange(100_000, dtype=np.uint64))):
        seen = np.bincount(mask(update, "a", bytes([number + 1]) * 32, {"b": bytes(32)}).view(np.uint8), minlength=256)
        assert float(((seen - 3125.0) ** 2 / 3125.0).sum()) < 400


def test_masked_words_say_nothing_of_the_update(tmp_path):
    consortium = Consortium(tmp_path, names(3))
    opening = consortium.opening()
    for segment in consortium.updates["hospital-00"]:
        consortium.updates["hospital-00"][segment] = consortium.model[segment].copy()
    masked = consortium.masked("hospital-00", opening)
    words = np.concatenate(list(masked.words.values()))
    assert not np.any(words == 0)
    assert words.size == np.unique(words).size


@pytest.mark.parametrize(
    ("name", "other"),
    [("run", "run 2"), ("number", 2), ("experiment", "f" * 64), ("phase", 1), ("learning_rate", 0.002)],
)
def test_a_round_of_anything_else_has_other_masks(tmp_path, name, other):
    opening = Consortium(tmp_path, names(3)).opening()
    facts = {"run": "run", "number": 1, "experiment": EXPERIMENT, "phase": 0, "learning_rate": RATE}
    assert opening.context(**facts) == opening.context(**facts)
    assert opening.context(**{**facts, name: other}) != opening.context(**facts)
    for change in ({"nonce": "7" * 64}, {"model": {"xray": "1" * 64}}, {"keys": dict(list(opening.keys.items())[:2])}):
        assert opening.model_copy(update=change).context(**facts) != opening.context(**facts)


@pytest.mark.parametrize(("smallest", "least"), [(5, 1), (3, 5)], ids=["smallest_sum", "min_sites"])
def test_a_hospital_helps_with_no_sum_that_is_smaller_than_was_agreed(tmp_path, smallest, least):
    """Of five hospitals the threshold is four."""
    consortium = Consortium(tmp_path, names(5))
    opening = consortium.opening()
    masked_round = consortium.round(opening)
    for site in consortium.sites[:4]:
        consortium.send(masked_round, site, opening)
    closed = masked_round.close()
    hospital = replace(consortium.hospital("hospital-00"), smallest=smallest, least=least)
    with pytest.raises(ValueError, match="a sum of 4 hospitals; this hospital helps to unmask one of 5 or more"):
        hospital.shares(1, closed.context, closed.taken, closed.dealt["hospital-00"])


class TestALyingServer:
    """Each attempt is refused at the hospital, by name."""

    def honest(self, tmp_path, number=4):
        consortium = Consortium(tmp_path, names(number))
        opening = consortium.opening()
        masked_round = consortium.round(opening)
        for site in consortium.sites:
            consortium.send(masked_round, site, opening)
        return consortium, opening, masked_round

    def test_asks_for_two_sums_of_one_round(self, tmp_path):
        consortium, _, masked_round = self.honest(tmp_path, 5)
        closed = masked_round.close()
        hospital = consortium.hospital("hospital-00")
        dealt = closed.dealt["hospital-00"]
        first = hospital.shares(1, closed.context, closed.taken, dealt)
        assert hospital.shares(1, closed.context, closed.taken, dealt) == first
        with pytest.raises(ValueError, match="has helped to unmask another sum of round 1"):
            hospital.shares(1, closed.context, closed.taken[:4], dealt)

    def test_gets_nothing_of_a_hospital_both_taken_and_dropped_out(self, tmp_path):
        consortium, _, masked_round = self.honest(tmp_path, 5)
        closed = masked_round.close()
        shares = consortium.hospital("hospital-00").shares(1, closed.context, closed.taken, closed.dealt["hospital-00"])
        assert {other for _, _, other in shares} == {""}

    def test_exchanges_a_key(self, tmp_path):
        consortium, opening, _ = self.honest(tmp_path)
        stranger = Masking(
            tmp_path / "lie.json", Ed25519PrivateKey.generate(), None, "run", "hospital-01", EXPERIMENT, 4, 3, 1
        ).run_key(("xray",))
        forged = opening.model_copy(update={"keys": {**opening.keys, "hospital-01": stranger}})
        with pytest.raises(ValueError, match="hospital-01: a hospital of the round has another identity"):
            consortium.masked("hospital-00", forged, 2)
        genuine = opening.keys["hospital-01"].model_copy(update={"key": stranger.key})
        forged = opening.model_copy(update={"keys": {**opening.keys, "hospital-01": genuine}})
        with pytest.raises(ValueError, match="hospital-01: the key of a hospital for this run is not signed"):
            consortium.masked("hospital-00", forged, 2)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"contributes": ("xray", "ct", "Mass")}, "the key of a hospital for this run"),
            ({"roster": "a" * 64}, "a hospital"),
        ],
        ids=["contributes", "roster"],
    )
    def test_changes_what_a_hospital_has_signed(self, tmp_path, change, reason):
        """That it contributes to more parts, so that a part looks as if enough stood behind it; or whom it trusts."""
        consortium, opening, _ = self.honest(tmp_path)
        told = opening.keys["hospital-01"].model_copy(update=change)
        forged = opening.model_copy(update={"keys": {**opening.keys, "hospital-01": told}})
        with pytest.raises(ValueError, match=f"hospital-01: {reason}"):
            consortium.masked("hospital-00", forged, 2)

    @pytest.mark.parametrize(("run", "experiment"), [("another", EXPERIMENT), ("run", "f" * 64)], ids=str)
    def test_brings_a_key_of_another_run_or_experiment(self, tmp_path, run, experiment):
        consortium, opening, _ = self.honest(tmp_path)
        honest = consortium.hospital("hospital-01")
        elsewhere = replace(honest, path=tmp_path / "elsewhere.json", run=run, experiment=experiment)
        told = elsewhere.run_key(consortium.contributes("hospital-01"))
        forged = opening.model_copy(update={"keys": {**opening.keys, "hospital-01": told}})
        with pytest.raises(ValueError, match="hospital-01: the key of a hospital for this run is not signed"):
            consortium.masked("hospital-00", forged, 2)

    def test_puts_a_stranger_among_the_hospitals(self, tmp_path):
        consortium, opening, _ = self.honest(tmp_path)
        stranger = Masking(
            tmp_path / "lie.json", Ed25519PrivateKey.generate(), None, "run", "south", EXPERIMENT, 4, 3, 1
        ).run_key(("xray",))
        keys = {site: told for site, told in opening.keys.items() if site != "hospital-03"} | {"south": stranger}
        with pytest.raises(ValueError, match="south: a hospital of the round does not stand in the roster"):
            consortium.masked("hospital-00", opening.model_copy(update={"keys": keys}), 2)

    def test_gives_one_hospital_another_model(self, tmp_path):
        consortium = Consortium(tmp_path, names(4))
        opening = consortium.opening()
        other = opening.model_copy(update={"model": dict.fromkeys(SIZES, "1" * 64)})
        masked_round = consortium.round(opening)
        for site in consortium.sites[1:]:
            consortium.send(masked_round, site, opening)
        with pytest.raises(ValueError, match="masked for another round, model or set of hospitals"):
            consortium.send(masked_round, "hospital-00", other)
        masked = consortium.masked("hospital-00", other)
        assert masked.context != masked_round.context

    def test_has_a_second_update_masked_in_one_round(self, tmp_path):
        consortium, opening, _ = self.honest(tmp_path)
        with pytest.raises(ValueError, match="another update was masked for round 1 before"):
            consortium.masked("hospital-00", opening.model_copy(update={"nonce": "7" * 64}))
        consortium.updates["hospital-00"]["xray"] = consortium.model["xray"]
        with pytest.raises(ValueError, match="another update was masked for round 1 before"):
            consortium.masked("hospital-00", opening)

    def test_goes_back_to_an_earlier_round(self, tmp_path):
        consortium, opening, _ = self.honest(tmp_path)
        consortium.masked("hospital-00", opening, 9)
        with pytest.raises(ValueError, match="an update of round 9 was masked before"):
            consortium.masked("hospital-00", opening, 8)

    def test_tells_of_fewer_hospitals_than_the_experiment_has(self, tmp_path):
        consortium = Consortium(tmp_path, names(6))
        opening = consortium.opening()
        few = opening.model_copy(update={"keys": {site: opening.keys[site] for site in consortium.sites[:3]}})
        with pytest.raises(ValueError, match="the round has 3 hospitals, expected 5 to 6"):
            consortium.masked("hospital-00", few)

    def test_passes_on_other_shares_than_were_dealt(self, tmp_path):
        consortium, _, masked_round = self.honest(tmp_path)
        closed = masked_round.close()
        dealt = {**closed.dealt["hospital-00"], "hospital-01": closed.dealt["hospital-00"]["hospital-02"]}
        shares = consortium.hospital("hospital-00").shares(1, closed.context, closed.taken, dealt)
        assert "hospital-01" not in {dealer for _, dealer, _ in shares}


def test_a_hospital_whose_roster_is_another_is_named(tmp_path):
    consortium = Consortium(tmp_path, names(4))
    odd = {**consortium.roster, "south": "0" * 64}
    keys = {site: consortium.hospital(site).run_key(("xray",)) for site in consortium.sites}
    keys["hospital-02"] = consortium.hospital("hospital-02", odd).run_key(("xray",))
    opening = Opening(nonce="0" * 64, model={}, keys=keys)
    with pytest.raises(ValueError, match="hospital-02: a hospital of the round trusts another roster"):
        consortium.hospital("hospital-00").check_opening(opening)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31, "0a" * 16])
def test_a_key_that_gives_no_secret_is_refused_before_it_stops_anybody(tmp_path, key):
    consortium = Consortium(tmp_path, names(3))
    identity = consortium.identities["hospital-00"]
    told = consortium.hospital("hospital-00").run_key(("xray",))
    text = _statement(told.identity, told.roster, key, told.contributes, "run", "hospital-00", EXPERIMENT)
    forged = told.model_copy(update={"key": key, "signature": identity.sign(text).hex()})
    with pytest.raises(ValueError, match="hospital-00: the key of a hospital for this run gives no secret"):
        check_run_key(forged, "run", "hospital-00", EXPERIMENT, None)


def test_a_hospital_that_lost_its_state_is_no_part_of_the_round(tmp_path):
    consortium = Consortium(tmp_path, names(4))
    opening = consortium.opening()
    consortium.hospital("hospital-00").path.unlink()
    with pytest.raises(ValueError, match="lack this hospital's own"):
        consortium.masked("hospital-00", opening)


def test_a_fingerprint_is_spoken_in_groups_of_digits(tmp_path):
    text = spoken(roster_digest({"north": "0" * 64, "south": "1" * 64}))
    assert len(text.split()) == 12
    assert all(len(group) == 5 and group.isdigit() for group in text.split())
