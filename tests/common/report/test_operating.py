import numpy as np
import pytest

from fedthorax.common.config.evaluation import EvaluationConfig
from fedthorax.common.metrics.operating import choose_operating_points
from fedthorax.common.record.run import CalibrationBin, read_run
from fedthorax.common.report.document import render
from fedthorax.common.report.operating import calibration_rows, operating_section, reliability_square

from ...heads import cancer_calibration, disease_calibration
from ...runs import central_test, intervals

FINDINGS, CLASSES = ("Mass", "Hernia"), ("normal", "tumour")


@pytest.fixture
def tested(begun):
    """A run of which the section shows all parts; Hernia is too rare for a threshold of its own."""
    rng = np.random.default_rng(0)
    truth = (rng.random((120, 2)) < [0.4, 0.03]).astype(float)
    truth[:, 1] = np.arange(120) < 2
    probability = np.clip(0.3 * truth + 0.5 * rng.random((120, 2)), 0, 1)
    classes, softmax = rng.integers(0, 2, 120), rng.dirichlet([1, 1], 120)
    patients = [str(row) for row in range(120)]
    points = choose_operating_points(
        (truth, probability), (classes, softmax), FINDINGS, CLASSES, EvaluationConfig(), "central", "valid"
    )
    calibration = {
        name: {
            "disease": disease_calibration(truth, given, patients, FINDINGS, 10, 30, 0),
            "cancer": cancer_calibration(classes, softmax, patients, CLASSES, 10, 30, 0),
        }
        for name, given in (("before", probability), ("after", points.calibrated_disease(probability)))
    }
    few = {"recall": 0.5, "specificity": 0.25, "descriptive": True}
    disease = {"Mass": {"recall": 0.75, "specificity": 0.5, "descriptive": False}, "Hernia": few}
    interval = {"recall": [0.6, 0.9]}
    return {
        **begun,
        "operating_points": {"round": 1, **points.model_dump(mode="json")},
        "test": central_test(
            disease={"per_finding": disease},
            cancer={"per_class": {name: {"descriptive": False} for name in CLASSES}},
            intervals=intervals({"per_finding": {"Mass": interval, "Hernia": interval}}, {}),
            calibration=calibration,
        ),
    }


def test_each_label_has_its_threshold_and_what_the_test_says_of_it(tested):
    points = tested["operating_points"]
    points["disease"]["Mass"]["hospitals"] = ["east", "north"]
    section = operating_section(read_run(tested))
    mass, hernia, *_ = section["rows"]
    assert mass["cells"][2].endswith(" (centre and 2 hospitals)")
    assert "centre" not in hernia["cells"][2]
    assert mass["cells"][1] == "Youden"
    assert mass["cells"][3:5] == ["0.750 (0.600 to 0.900)", "0.500"]
    assert hernia["cells"][:2] == [f"{points['disease']['Hernia']['threshold']:.3f}", "as many as are"]
    assert hernia["cells"][3] == "0.500"  # descriptive: no interval
    assert [row["name"] for row in section["rows"]] == [*FINDINGS, *CLASSES]
    assert any(reason.startswith("Hernia: ") for reason in section["reasons"])


def test_calibration_is_told_before_and_after(tested):
    rows = calibration_rows(read_run(tested).test)
    assert [row["name"] for row in rows] == [*FINDINGS, "CT classes, the most probable one"]
    assert float(rows[0]["cells"][1].split()[0]) < float(rows[0]["cells"][0])
    assert rows[0]["cells"][-1] == "120"


def test_a_reliability_diagram_says_in_words_what_it_shows():
    found = CalibrationBin(count=8, mean_probability=0.25, share_positive=0.5, low=0.2, high=0.3)
    drawing = reliability_square("Mass", [found])
    assert "Reliability of Mass. Probability 0.25: 0.50 of 8." in drawing
    assert 'cx="26.0" cy="51.0"' in drawing
    assert "No label is known." in reliability_square("Mass", [])


def test_a_run_without_thresholds_has_no_such_section(tested):
    assert operating_section(read_run({**tested, "operating_points": None})) is None


def test_without_a_test_the_thresholds_show_what_they_give_on_the_images_that_chose_them(tested, metrics, begun):
    section = operating_section(read_run({**tested, "test": None}))
    mass = tested["operating_points"]["disease"]["Mass"]
    row = next(row for row in section["rows"] if row["name"] == "Mass")
    assert row["cells"][3:] == [f"{mass['sensitivity']:.3f}", f"{mass['specificity']:.3f}"]
    assert section["heads"] == ["Sensitivity", "Specificity"]
    assert "those of the images that chose them, and flatter" in " ".join(
        render(read_run({**metrics, "test": None}), None).split()
    )
    assert "Thresholds and calibration" not in render(read_run(begun), None)


def test_the_report_shows_the_section(tested, metrics):
    test = {**metrics["test"], "calibration": None}
    text = render(read_run({**metrics, "operating_points": tested["operating_points"], "test": test}), None)
    assert 'id="thresholds"' in text
    assert "Reliability diagrams" not in text  # that run has no calibration


def test_a_hospitals_own_thresholds_stand_beside_the_common_ones(metrics):
    section = operating_section(read_run(metrics))
    assert [row["name"] for row in section["own"]] == ["Nordklinik", "University Hospital South"]
    north = metrics["sites"]["Nordklinik"]
    assert section["own"][0]["cells"][0] == f"{north['test']['disease']['macro']['recall']:.3f}"
    assert section["own"][0]["cells"][5] == f"{north['test_at_own_thresholds']['disease']['macro']['f1']:.3f}"
    assert section["own_thresholds"]["heads"] == ["Common", "Nordklinik", "University Hospital South"]
    assert len(section["own_thresholds"]["rows"]) == 14 + 4
    for site in metrics["sites"].values():
        site["operating_points"] = None
    assert operating_section(read_run(metrics))["own_thresholds"] is None


def test_calibration_of_a_rare_finding_is_descriptive(metrics):
    rows = {row["name"]: row for row in calibration_rows(read_run(metrics).test)}
    assert rows["Hernia"]["few"]
    assert "(" not in "".join(rows["Hernia"]["cells"])
    assert "(" in "".join(rows["Effusion"]["cells"])
