"""A hospital with X-rays alone, with CT alone, with both; and one model that answers for any of them."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from fedthorax.client.site_store import SiteStore
from fedthorax.client.worker import SiteWorker
from fedthorax.common.config import Experiment
from fedthorax.common.config.training import PhaseConfig
from fedthorax.common.config.travelling import experiment_digest
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import SiteImages
from fedthorax.common.masking.opening import Opening
from fedthorax.common.messages.masking import UnmaskTask
from fedthorax.common.messages.tasks import DescribeTask, TrainTask
from fedthorax.common.metrics.operating import fixed_operating_points
from fedthorax.common.model.segments import MODALITIES, SEGMENTS, SegmentLayout, segment_sha256, segments_of
from fedthorax.common.pairing import ABSENT, drop_sides, one_sided_pairs, training_pairs
from fedthorax.common.training.branch_counts import branch_counts, domains_for
from fedthorax.common.training.features import FeatureStore
from fedthorax.common.training.final_scores import final_scores, scores_by_given
from fedthorax.common.training.fit import FitReport, epoch_pairs, fit
from fedthorax.common.training.network import Network
from fedthorax.common.training.schedule import Scope, scope_of
from fedthorax.common.training.scoring import predict
from fedthorax.server.masked_round import MaskedRound

POINTS = fixed_operating_points(("Effusion", "Mass", "Nodule"), ("normal", "tumour"), 0.5, "a test")
HEADS = PhaseConfig(rounds=1, trainable="heads")


@pytest.fixture(scope="module")
def experiment(small_experiment):
    raw = small_experiment.model_dump(mode="json")
    raw["model"]["absent"] = "token"
    raw["training"]["modality_dropout"] = 0.5
    return Experiment.model_validate_json(json.dumps(raw))


@pytest.fixture(scope="module")
def both(experiment):
    return Network(experiment)


@pytest.fixture(scope="module")
def ct_only(experiment):
    return Network(experiment, ("ct",))


def test_a_hospital_without_x_rays_builds_no_x_ray_encoder(both, ct_only):
    assert not any(layer.name.startswith("xray_backbone") for layer in ct_only.model.layers)
    assert ct_only.layout.sizes["xray.backbone"] == ct_only.layout.sizes["xray.projection"] == 0
    shared = segments_of(("ct",))
    assert ct_only.layout.digest_of(shared) == both.layout.digest_of(shared)
    assert {name: both.layout.slots[name][-1].name for name in ["fusion"]} == {
        name: ct_only.layout.slots[name][-1].name for name in ["fusion"]
    }
    assert ct_only.model.count_params() < 0.55 * both.model.count_params()
    assert set(ct_only.trained_segments("all")) == set(SEGMENTS) - {"xray.backbone", "xray.projection"}


def test_both_networks_say_the_same_about_a_slice_alone(both, ct_only, draw_images):
    ct_only.layout.write(both.layout.read(segments_of(("ct",))))
    split = draw_images(0, 6)
    whole, _ = predict(both, FeatureStore(both, None), split, seed=1)
    half, _ = predict(ct_only, FeatureStore(ct_only, None), split, seed=1)
    assert np.allclose(whole.cancer, half.cancer, atol=1e-6)
    assert not np.isnan(half.cancer).any()


def test_a_hospital_with_ct_alone_trains_its_encoder_the_token_and_the_cancer_head(ct_only, draw_images):
    before = ct_only.layout.read()
    train = draw_images(0, 8)
    fitted = fit(ct_only, FeatureStore(ct_only, None), train, draw_images(0, 3), HEADS, 1e-2, seed=1)
    assert (fitted.pairs, fitted.without_xray, fitted.without_ct, fitted.disease_loss) == (8, 8, 0, None)
    after = ct_only.layout.read()
    changed = {name for name in SEGMENTS if not np.array_equal(before[name], after[name])}
    assert changed == {"ct.projection", "fusion", "cancer"}
    assert branch_counts(train, fitted) == {
        **{"xray": 0, "ct": 8, "fusion": 8, "xray_token": 8, "ct_token": 0, "findings": [0, 0, 0], "cancer": 8}
    }


@pytest.mark.parametrize("side", ["xray", "ct"])
@pytest.mark.parametrize("sample_by", ["image", "patient"])
def test_an_image_alone_of_which_nothing_is_known_is_not_trained_on(experiment, draw_images, side, sample_by):
    """Beside a partner it is: the other head sees both."""
    data = experiment.data.model_copy(update={"sample_by": sample_by})
    experiment = experiment.model_copy(update={"data": data})
    training = experiment.training.model_copy(update={"modality_dropout": 0.0})
    undropped = experiment.model_copy(update={"training": training})
    alone, both = (draw_images(*sizes) for sizes in ((8, 0) if side == "xray" else (0, 8), (8, 8)))
    for images in (alone, both):
        images.of(side).targets[[1, 5]] = np.nan if side == "xray" else -1
    pairs = epoch_pairs(experiment, alone, seed=1)
    assert sorted(getattr(pairs, side)) == [0, 2, 3, 4, 6, 7]
    counts = branch_counts(alone, FitReport(None, None, None, len(pairs), 1, 1, 0.0), sample_by == "patient")
    assert counts[side] == 6
    assert branch_counts(both, FitReport(None, None, None, 8, 1, 1, 0.0))[side] == 8
    assert {1, 5} <= set(getattr(epoch_pairs(undropped, both, seed=1), side))


def test_what_an_absent_image_holds_changes_nothing(both, draw_images):
    split = draw_images(4, 4)
    one, two = (np.full((2, 32, 32, 3), grey, np.float32) for grey in (0, 200))
    ct = split.ct.images[:2].astype(np.float32)
    absent, present = np.zeros((2, 1), np.float32), np.ones((2, 1), np.float32)

    def cancer(xray, given):
        inputs = {"xray": xray, "ct": ct, "xray_present": given, "ct_present": present}
        return both.model(inputs, training=False)["cancer"].numpy()

    assert np.array_equal(cancer(one, absent), cancer(two, absent))
    assert not np.array_equal(cancer(one, absent), cancer(one, present))


def test_the_saved_model_opens_with_plain_keras(both, tmp_path):
    both.model.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    assert {tensor.name for tensor in opened.inputs} == {"xray", "ct", "xray_present", "ct_present"}
    weights, again = both.layout.read(), SegmentLayout(opened).read()
    assert all(np.array_equal(weights[name], again[name]) for name in SEGMENTS)


def test_scores_are_told_by_what_was_given(both, draw_images):
    found = scores_by_given(both, FeatureStore(both, None), draw_images(8, 8), 1, POINTS)
    assert found["xray"]["cancer_loss"] is None
    assert found["ct"]["disease_loss"] is None
    assert found["xray"]["disease_loss"] is not None
    assert found["both"]["loss"] == pytest.approx(found["both"]["disease_loss"] + found["both"]["cancer_loss"])


def test_a_server_without_ct_scores_the_findings_with_intervals_and_says_null_of_the_classes(both, draw_images):
    test = draw_images(12, 0)
    raw, losses = predict(both, FeatureStore(both, None), test, 1)
    scores = final_scores(both, test, raw, losses, POINTS)
    findings = scores["intervals"]["disease"]["macro"]["roc_auc"]
    assert findings[0] <= scores["disease"]["macro"]["roc_auc"] <= findings[1]
    assert scores["calibration"]["before"]["disease"]["Mass"]["ece"] is not None
    assert (scores["cancer"]["accuracy"], scores["intervals"]["cancer"]["accuracy"]) == (None, None)
    assert scores["calibration"]["before"]["cancer"]["reason"] == "No label is known."


def test_a_network_that_needs_both_has_no_such_scores(fresh, store, draw_images):
    assert scores_by_given(fresh, store, draw_images(4, 4), 1, POINTS) is None


def test_a_network_with_both_encoders_also_trains_on_one_modality(both, draw_images):
    """One hospital alone, or the server's network: the encoder is there and gets nothing to see."""
    fitted = fit(both, FeatureStore(both, None), draw_images(6, 0), draw_images(0, 0), HEADS, 1e-3, 1)
    assert (fitted.pairs, fitted.without_ct, fitted.cancer_loss) == (6, 6, None)


@pytest.mark.ci
def test_images_run_through_the_one_encoder_that_is_there(ct_only, draw_images):
    before = ct_only.layout.read()
    fitted = fit(
        ct_only,
        FeatureStore(ct_only, None),
        draw_images(0, 4),
        draw_images(0, 0),
        HEADS.model_copy(update={"trainable": "all"}),
        1e-3,
        1,
    )
    assert fitted.steps == 1
    assert not np.array_equal(before["ct.backbone"], ct_only.layout.read()["ct.backbone"])


def test_a_share_of_the_pairs_loses_one_side_and_never_both():
    pairs = training_pairs([str(i) for i in range(4000)], ["a"] * 4000, "random", "longest", 1)
    dropped = drop_sides(pairs, 0.4, seed=2)
    no_xray, no_ct = dropped.xray == ABSENT, dropped.ct == ABSENT
    assert not (no_xray & no_ct).any()
    assert no_xray.mean() == pytest.approx(0.2, abs=0.03)
    assert no_ct.mean() == pytest.approx(0.2, abs=0.03)
    assert np.array_equal(dropped.xray[~no_xray], pairs.xray[~no_xray])


def test_pairs_of_one_side_use_every_image_once():
    pairs = one_sided_pairs(0, 5, seed=1)
    assert sorted(pairs.ct) == [0, 1, 2, 3, 4]
    assert set(pairs.xray) == {ABSENT}
    assert len(one_sided_pairs(0, 0, seed=1)) == 0


def test_the_worker_of_a_hospital_without_x_rays_answers_with_what_it_has(experiment, ct_only, draw_images):
    site = SiteImages("north", {"train": draw_images(0, 6), "valid": draw_images(0, 2), "test": draw_images(0, 0)})
    asked = []

    def build(_, modalities):
        asked.append(modalities)
        return ct_only, FeatureStore(ct_only, None)

    worker = SiteWorker(lambda *_: site, build, EventLog(None))
    segments = segments_of(("ct",))
    task = TrainTask(
        site="north",
        round=1,
        experiment=experiment.model_dump_json(),
        weights=ct_only.layout.read(segments),
        layout=ct_only.layout.digest_of(segments),
        learning_rate=1e-3,
    )
    reply = worker.run(task)
    assert reply.error is None
    assert asked == [("ct",)]
    assert set(reply.weights) == set(segments)
    assert (reply.num_pairs, reply.told.counts.ct, reply.told.counts.xray) == (6, 6, 0)


def test_under_masks_a_hospital_that_lacks_an_encoder_numbers_the_groups_as_the_server_does(experiment, both, ct_only):
    """The numbers stand in the keys of the masks, which would not fall away otherwise."""
    xray, ct = ("xray", "fusion", "ct_token", "Effusion", "Mass"), ("ct", "fusion", "xray_token", "cancer")
    told = {"a": xray, "b": xray, "c": ct, "d": ct, "e": (*xray, *ct)}
    opening = Opening.model_construct(keys={site: SimpleNamespace(contributes=names) for site, names in told.items()})
    federation = experiment.federation.model_copy(update={"smallest_sum": 2})
    experiment = experiment.model_copy(update={"federation": federation})
    for scope in ("heads", "all", Scope((("xray.projection", 1.0), ("cancer", 1.0)))):
        here, there = (
            domains_for(opening, experiment, network.layout, network.trained_segments(scope, MODALITIES))
            for network in (ct_only, both)
        )
        assert [domain.group for domain in here] == [domain.group for domain in there]
        assert both.trained_segments(scope) == both.trained_segments(scope, MODALITIES)


@pytest.mark.ci
def test_hospitals_with_one_modality_each_are_summed_under_masks_and_who_has_no_part_in_a_phase_helps(
    experiment, both, ct_only, draw_images, tmp_path
):
    raw = experiment.model_dump(mode="json")
    sources = {"a": {"xray": "x"}, "b": {"xray": "x", "ct": "c"}, "c": {"ct": "c"}}
    raw["data"]["hospitals"] = sources
    raw["federation"] |= {"secure_aggregation": True, "smallest_sum": 2}
    parts = {"rounds": 1, "trainable": "parts", "parts": {"ct": {"top": 0}, "cancer": {}}}
    raw["training"] |= {"modality_dropout": 0.0, "phases": [{"rounds": 1, "trainable": "all"}, parts]}
    masked = Experiment.model_validate_json(json.dumps(raw))
    networks = {("xray", "ct"): both, ("ct",): ct_only, ("xray",): Network(experiment, ("xray",))}
    splits = {"a": draw_images(4, 0), "b": draw_images(4, 4), "c": draw_images(0, 6)}
    nothing = {split: draw_images(0, 0) for split in ("valid", "test")}
    workers = {
        name: SiteWorker(
            lambda _, site, __: SiteImages(site, {"train": splits[site], **nothing}, ()),
            lambda of, modalities: (networks[modalities], FeatureStore(networks[modalities], None)),
            EventLog(None),
            own=SiteStore(tmp_path / name),
        )
        for name in sources
    }
    text, model = masked.model_dump_json(), both.layout.read()
    sha256 = {segment: segment_sha256(values) for segment, values in model.items()}

    def asked(kind, site, number=0, **more):
        reply = workers[site].run(kind(site=site, round=number, experiment=text, run="r", **more))
        assert reply.error is None
        return reply

    keys = {site: asked(DescribeTask, site, digest_key="ab" * 16).told.run_key for site in sources}
    phase, number, opening = 1, 2, Opening(nonce="ab" * 32, model=sha256, keys=keys)
    context = opening.context("r", number, experiment_digest(masked), phase, 1e-3)
    trained = both.trained_segments(scope_of(masked.training.phases[phase]))
    domains = domains_for(opening, masked, both.layout, trained)
    (tmp_path / "lead").mkdir()
    sums = MaskedRound(tmp_path / "lead", number, context, domains, opening, hospitals=3, smallest=2)
    for site, source in sources.items():
        held = segments_of(source)
        reply = asked(
            TrainTask, site, number, phase=phase, learning_rate=1e-3, masking=opening,
            weights={name: model[name] for name in held}, sha256={name: sha256[name] for name in held},
            layout=both.layout.digest_of(held),
        )  # fmt: skip
        sums.add(site, reply.told.masked, reply.packed)
    closed = sums.close()
    assert set(closed.taken) == set(sources)
    given = {
        site: asked(
            UnmaskTask, site, number, context=context, taken=closed.taken, dealt=closed.dealt[site]
        ).told.by_slot()
        for site in sources
    }
    assert {one.segment: one.weight for one in sums.unmasked(given, model)} == {"ct.projection": 10, "cancer": 10}
    assert not sums.wrong
