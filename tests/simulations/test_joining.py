"""What joining is worth, with models whose scores are known: the perfect one, the one that is always wrong, a coin."""

import json

import numpy as np
import pytest

from fedthorax.common.config import Experiment
from fedthorax.common.config.load import load_experiment
from fedthorax.common.record.run_folder import RunFolder
from fedthorax.common.report.joining import joining_page
from fedthorax.common.training.compared import joined, mean_areas
from fedthorax.common.training.scoring import Predictions, Truth
from fedthorax.simulations.centralised import with_one_site
from fedthorax.simulations.joining.arms import finished, plan_arms, run_arm
from fedthorax.simulations.joining.worth import Models, joining_figures, verdict

from ..runs import partial_run

SITES = ("north", "st.mary")


@pytest.fixture
def experiment(experiment_file) -> Experiment:
    found = load_experiment(experiment_file(), ["evaluation.bootstrap_samples=200"])
    labels = found.labels.model_copy(update={"findings": ("Effusion", "Mass")})
    return found.model_copy(update={"labels": labels})


def truth(images: int = 40) -> Truth:
    """Every second X-ray shows an effusion; Mass is never annotated; every second slice is a tumour."""
    effusion = (np.arange(images) % 2).astype(np.float32)
    findings = np.stack([effusion, np.full(images, np.nan, np.float32)], axis=1)
    names = tuple(f"p{row}" for row in range(images))
    return Truth(findings, (np.arange(images) % 2).astype(np.int32), names, names)


def model(kind: str, images: int = 40) -> Predictions:
    """Probabilities of the right answer: 1 in the perfect model, 0 in the wrong one, a draw in the coin."""
    right = np.arange(images) % 2
    drawn = np.random.default_rng(5).random(images)
    chance = {"perfect": right.astype(float), "wrong": 1.0 - right, "coin": drawn}[kind]
    # Scores of a perfect and a wrong model differ from image to image, so that there is a spread to test.
    chance = np.clip(0.9 * chance + 0.05 * drawn, 0, 1)
    return Predictions(np.stack([chance, drawn], axis=1), np.stack([1 - chance, chance], axis=1))


def figures(experiment: Experiment, common: str, alone: str, images: int = 40, own: str = "common") -> dict:
    named = {"together": common, "a1": alone, "a2": alone, "own": own, "w1": alone, "w2": common}
    predictions = {
        name: {site: model(common if kind == "common" else kind, images) for site in SITES}
        for name, kind in named.items()
    }
    models = Models(
        "together",
        {"north": "a1", "st.mary": "a2"},
        {"north": "own", "st.mary": "together"},
        {"north": "w1", "st.mary": "w2"},
        "together",
    )
    return joining_figures(experiment, dict.fromkeys(SITES, truth(images)), predictions, models)


def document(experiment: Experiment, found: dict, leaving_out: str | None = "exact") -> dict:
    facts = {
        "images": {"train": {"xray": 120, "ct": 80}, "valid": {}, "test": {}},
        "test_images_left_out": 2,
        "share_of_pairs": 0.25,
        "kept": "outputs",
    }
    hospitals = {site: entry | facts for site, entry in found["hospitals"].items()}
    top = {"name": "net", "software_version": "1", "rounds": 3, "leaving_out": leaving_out}
    return top | {"hospitals": hospitals, "cross_site": found["cross_site"]}


@pytest.mark.parametrize(
    ("common", "alone", "expected"),
    [
        ("perfect", "wrong", "helped"),
        ("wrong", "perfect", "harmed"),
        ("coin", "coin", "no difference shown"),
    ],
)
def test_the_interval_of_the_difference_on_own_test_images_decides(experiment, common, alone, expected):
    found = figures(experiment, common, alone)["hospitals"]["st.mary"]
    assert found["own"]["verdict"] == {"disease": expected, "cancer": expected}
    assert found["others"]["verdict"]["disease"] == expected
    mean = found["own"]["joined_less_alone"]["disease"]["mean"]
    assert mean["names"] == ["Effusion"]  # nobody annotates the other
    if expected == "helped":
        assert (mean["first"], mean["second"], mean["difference"]["value"]) == (1, 0, 1)


def test_with_few_images_nothing_is_claimed(experiment):
    found = figures(experiment, "perfect", "wrong", images=12)["hospitals"]["north"]
    assert found["own"]["verdict"] == {"disease": "cannot be told", "cancer": "cannot be told"}
    assert found["own"]["scores"]["common"]["disease"]["value"] is None
    assert found["own"]["scores"]["common"]["disease"]["reason"] == "Too few images of each kind."


def test_what_a_hospital_uses_after_joining_is_its_own_model_where_it_has_one(experiment):
    found = figures(experiment, "wrong", "coin", own="perfect")["hospitals"]
    assert found["north"]["own"]["scores"]["joined"]["cancer"]["value"] == 1
    assert found["north"]["own"]["scores"]["common"]["cancer"]["value"] == 0
    assert found["st.mary"]["own"]["scores"]["joined"]["cancer"]["value"] == 0


def test_a_hospital_gives_what_the_others_lose_without_it(experiment):
    found = figures(experiment, "perfect", "wrong")["hospitals"]
    gave = found["north"]["contribution"]
    assert gave["with_less_without"]["cancer"]["mean"]["difference"]["value"] == 1
    assert gave["verdict"]["cancer"] == "helped"
    assert found["st.mary"]["contribution"]["with_less_without"]["cancer"]["mean"]["difference"]["value"] == 0


def test_every_model_is_scored_on_every_hospitals_images(experiment):
    table = figures(experiment, "perfect", "wrong")["cross_site"]
    assert table["disease"]["north"] == {"north": 0, "st.mary": 0}
    assert table["cancer"]["together"] == {"north": 1, "st.mary": 1}


def test_a_patient_of_one_hospital_is_nobody_of_another(experiment):
    both = joined({"north": truth(20), "st.mary": truth(20)})
    assert len(set(both.xray_patients)) == 40
    found = mean_areas(experiment, both, model("perfect", 40))
    assert found["disease"]["value"] == 1
    assert found["disease"]["interval"] == [1, 1]


def test_an_undefined_difference_gives_no_verdict():
    assert verdict(None) == "cannot be told"
    assert verdict({"difference": {"interval": None}}) == "cannot be told"


SAID = [
    (
        ("perfect", "wrong", 40),
        ["X-ray findings: joining helped north and st.mary.", "its part makes the common model better for the others"],
    ),
    (
        ("wrong", "perfect", 40),
        [
            "for none of the 2 hospitals is a gain shown; it made things worse for north and st.mary.",
            "Joining did not pay for st.mary, as far as its own test images show.",
            "CT classes: joining made it worse. Mean ROC-AUC on its own test images 0.000 after joining, 1.000 alone",
        ],
    ),
    (
        ("coin", "coin", 40),
        ["no difference is shown for north and st.mary", "The interval holds 0: 40 patients do not tell more."],
    ),
    (
        ("perfect", "wrong", 12),
        [
            "X-ray findings: it cannot be told for north and st.mary, whose own test images are too few.",
            "Whether joining paid for north cannot be told",
        ],
    ),
]


@pytest.mark.parametrize(("case", "sentences"), SAID)
def test_the_page_says_it_plainly(experiment, case, sentences):
    page = " ".join(joining_page(document(experiment, figures(experiment, *case))).split())
    for sentence in sentences:
        assert sentence in page
    assert "120 X-rays and 80 CT slices, which stayed there; 25% of all hospitals" in page


def test_the_page_says_how_leaving_out_was_done(experiment):
    found = figures(experiment, "coin", "coin")
    assert "training all others again without it" in joining_page(document(experiment, found))
    assert "approximated" in joining_page(document(experiment, found, "1/4 of the rounds"))
    for entry in found["hospitals"].values():
        entry["contribution"] = None
    assert "was not measured" in joining_page(document(experiment, found, None))


def with_hospitals(experiment: Experiment, number: int) -> Experiment:
    source = experiment.data.hospitals["north"]
    hospitals = {f"h{i}": source for i in range(number)}
    return experiment.model_copy(update={"data": experiment.data.model_copy(update={"hospitals": hospitals})})


def test_of_two_hospitals_one_without_the_other_is_the_other_alone(experiment, tmp_path):
    plan = plan_arms(experiment, tmp_path)
    assert [arm.name for arm in plan.arms] == ["together", "alone-1", "alone-2"]
    assert plan.without["north"].alone == "st.mary"
    assert plan.together.experiment.personalisation.fine_tune == ("batch_norm", "outputs", "heads")
    assert plan.together.folder == tmp_path / "together"


def test_of_a_few_hospitals_each_is_left_out_in_a_whole_run(experiment, tmp_path):
    plan = plan_arms(with_hospitals(experiment, 3), tmp_path)
    assert plan.exact
    assert [arm.name for arm in plan.arms][-3:] == ["without-1", "without-2", "without-3"]
    assert list(plan.without["h1"].experiment.data.hospitals) == ["h0", "h2"]
    assert plan.reference == plan.together
    assert plan_arms(with_hospitals(experiment, 3), tmp_path, leave_out=False).without == {}


def test_of_many_hospitals_each_is_left_out_in_a_short_run_and_so_is_none(experiment, tmp_path):
    plan = plan_arms(with_hospitals(experiment, 7), tmp_path)
    assert not plan.exact
    assert plan.reference is not None
    assert plan.reference.name == "short"
    assert plan.reference.experiment.training.num_rounds == 1  # of 2, rounded up
    assert len(plan.reference.experiment.data.hospitals) == 7


def test_one_hospital_has_nobody_to_join(experiment, tmp_path):
    with pytest.raises(ValueError, match="has 1 hospital; joining takes two or more"):
        plan_arms(with_hospitals(experiment, 1), tmp_path)


@pytest.mark.ci
def test_a_run_that_fails_is_named(experiment, tmp_path):
    """Its folders do not exist."""
    arm = plan_arms(experiment, tmp_path / "x").alone["north"]
    assert finished(arm) is None
    with pytest.raises(RuntimeError, match=r"the run alone-1 in .* failed \(exit status 1\); its reason stands above"):
        run_arm(arm)


@pytest.mark.parametrize("federation", [{"codec": "int8"}, {"strategy": "fedbn"}])
def test_what_was_run_for_a_hospital_alone_is_found_again_whatever_the_federation_does(
    experiment, tmp_path, federation
):
    """Alone there is nothing to send and nothing to combine, and so it stands in the run folder."""
    changed = experiment.federation.model_copy(update=federation)
    arm = plan_arms(experiment.model_copy(update={"federation": changed}), tmp_path / "x").alone["north"]
    with RunFolder.create(arm.folder) as folder:
        folder.write_config(with_one_site(arm.experiment), {})
        folder.metrics.write_text(json.dumps(partial_run(status="finished")))
    assert finished(arm) is not None
