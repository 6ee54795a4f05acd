import pytest

from fedthorax.server.selection import Selection, selection_value


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


def test_an_undefined_score_is_never_the_best():
    assert run("mean_roc_auc", [None, None]).best_round is None
    assert run("mean_roc_auc", [0.4, None]).best_round == 0


def test_a_plateau_reduces_once_per_patience():
    assert run("loss", [1.0, 1.1, 1.2], patience=2).plateau_reductions == 1
    assert run("loss", [1.0, 1.1, 1.2, 1.3, 1.4], patience=2).plateau_reductions == 2
    assert run("loss", [1.0, 1.1, 0.9, 1.0], patience=2).plateau_reductions == 0
