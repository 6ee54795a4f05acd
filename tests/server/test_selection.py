import pytest

from fedthorax.common.config.training import PhaseConfig
from fedthorax.server.selection import Selection, selection_value, stopped_parts


def scores(disease: float | None, cancer: float | None, loss: float | None = 1.5) -> dict:
    return {"loss": loss, "disease": {"macro": {"roc_auc": disease}}, "cancer": {"macro": {"roc_auc": cancer}}}


@pytest.mark.parametrize(
    ("metric", "disease", "cancer", "value"),
    [
        ("mean_roc_auc", 0.5, 1.0, 0.75),
        ("mean_roc_auc", None, 0.9, 0.9),
        ("mean_roc_auc", None, None, None),
        ("disease_roc_auc", 0.6, 0.9, 0.6),
        ("cancer_roc_auc", 0.6, 0.9, 0.9),
        ("loss", 0.6, 0.9, 1.5),
    ],
)
def test_the_selection_figure_is_the_named_one(metric, disease, cancer, value):
    assert selection_value(scores(disease, cancer), metric) == value


def counted(areas: dict[str, float | None], positives: dict[str, int], of: str = "per_finding") -> dict:
    known = {"known": 1000} if of == "per_finding" else {}
    rows = {name: {"roc_auc": area, "support": positives[name], **known} for name, area in areas.items()}
    return {"macro": {"roc_auc": 0.123}, of: rows, **({} if known else {"known": 1000})}


def test_by_certainty_a_finding_with_one_positive_hardly_counts():
    disease = counted({"Effusion": 0.7, "Hernia": 1.0, "Mass": None}, {"Effusion": 300, "Hernia": 1, "Mass": 0})
    cancer = counted({"normal": 0.8, "tumour": 0.8}, {"normal": 500, "tumour": 500}, "per_class")
    told = {"loss": 1.0, "disease": disease, "cancer": cancer}
    assert selection_value(told, "disease_roc_auc", "certainty") == pytest.approx(0.7, abs=0.002)
    assert selection_value(told, "mean_roc_auc", "certainty") == pytest.approx(0.75, abs=0.001)
    assert selection_value(told, "disease_roc_auc") == 0.123
    assert selection_value(told, "loss", "certainty") == 1.0


def run(metric: str, values: list[float | None], patience: int | None = None) -> Selection:
    selection = Selection(metric)
    for number, value in enumerate(values):
        selection = selection.after(number, value, patience)
    return selection


def test_the_highest_score_wins_and_ties_keep_the_earlier_round():
    selection = run("mean_roc_auc", [0.5, 0.7, 0.7, 0.6])
    assert (selection.best_round, selection.best_value, selection.rounds_since_best) == (1, 0.7, 2)


def test_the_lowest_loss_wins():
    assert run("loss", [2.0, 1.0, 3.0]).best_round == 1


def test_by_the_last_round_the_newest_whose_model_is_taken_is_the_one_and_no_figure_chose_it():
    told = [selection_value(scores(area, None), "last") for area in (0.9, 0.1, 0.5)]
    selection = run("last", [*told, None])  # the model of the fourth round was not taken
    assert (selection.best_round, selection.best_value) == (2, None)
    assert run("last", told).rounds_since_best == 0


def test_an_undefined_score_is_never_the_best():
    assert run("mean_roc_auc", [None, None]).best_round is None
    assert run("mean_roc_auc", [0.4, None]).best_round == 0


def test_a_plateau_reduces_once_per_patience():
    assert run("loss", [1.0, 1.1, 1.2], patience=2).plateau_reductions == 1
    assert run("loss", [1.0, 1.1, 1.2, 1.3, 1.4], patience=2).plateau_reductions == 2
    assert run("loss", [1.0, 1.1, 0.9, 1.0], patience=2).plateau_reductions == 0


ENCODERS = {"xray": {}, "ct": {}}


def stopped(xray: list[float | None], ct: list[float | None], parts: dict | None = None) -> dict[str, int]:
    phase = PhaseConfig(rounds=9, trainable="parts", parts=parts or ENCODERS | {"heads": {}}, part_patience=2)
    return stopped_parts(phase, [scores(*pair) for pair in zip(xray, ct, strict=True)], "equal")


def test_a_part_stops_by_its_own_task_and_goes_back_to_its_best_round_while_the_other_goes_on():
    assert stopped([0.6, 0.5, 0.5], [0.6, 0.7, 0.8]) == {"xray": 0}
    assert stopped([0.6, 0.7, 0.6], [0.6, 0.7, 0.8]) == {}
    assert stopped([0.6, 0.5, 0.7, 0.6], [0.6, 0.7, 0.8, 0.9]) == {}  # what is better begins the count anew
    assert stopped([0.6, 0.7, 0.6, 0.5], [0.6, 0.7, 0.6, 0.5]) == {"xray": 1, "ct": 1}


def test_a_part_that_has_stopped_stays_so_whatever_the_others_make_of_it():
    assert stopped([0.6, 0.5, 0.5, 0.9], [0.6, 0.7, 0.8, 0.9]) == {"xray": 0}


def test_the_last_part_goes_on():
    assert stopped([0.6, 0.5, 0.5], [0.6, 0.5, 0.5], ENCODERS) == {"xray": 0}


def test_a_part_that_has_stopped_stays_so_when_the_last_one_has_had_enough_too():
    assert stopped([0.6, 0.7, 0.8, 0.7, 0.7], [0.6, 0.5, 0.5, 0.5, 0.5], ENCODERS) == {"ct": 0}
    assert stopped([0.6, 0.7, 0.6, 0.6, 0.6], [0.6, 0.5, 0.5, 0.5, 0.5], ENCODERS) == {"ct": 0}


def test_a_round_without_a_figure_does_not_count():
    assert stopped([0.6, None, 0.5], [0.6, 0.7, 0.8]) == {}
    phase = PhaseConfig(rounds=9, trainable="parts", parts=ENCODERS, part_patience=1)
    assert stopped_parts(phase, [scores(0.6, 0.6), None], "equal") == {}
