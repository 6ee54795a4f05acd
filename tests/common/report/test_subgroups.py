import re

from fedthorax.common.ground.wording import UNDEFINED
from fedthorax.common.record.run import read_run
from fedthorax.common.release.card_facts import card_facts
from fedthorax.common.release.model_card import model_card
from fedthorax.common.report.subgroups import of_task, subgroup_section


def words(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_each_attribute_has_a_table_with_its_groups_and_their_gaps(metrics):
    text = words(subgroup_section(read_run(metrics)))
    women = metrics["test"]["subgroups"]["disease"]["sex"]["groups"]["F"]
    value = women["mean"]["roc_auc"]
    assert f"F {women['images']} {len(women['mean']['labels'])} of 14 {value['value']:.3f}" in text
    low, high = value["gap_interval"]
    assert f"{value['gap']:+.3f} {low:+.3f} to {high:+.3f}".replace("-", "\N{MINUS SIGN}") in text
    for title in ("Sex", "Age in years", "View", "Scanner", "Hospital"):
        assert f"{title}; means over the labels that are compared." in text
    assert f"Of {metrics['test']['subgroups']['disease']['sex']['unknown']} images it is not known." in text


def test_hidden_groups_say_so_and_rare_scanners_are_not_named(metrics):
    text = words(subgroup_section(read_run(metrics)))
    assert f"LL {UNDEFINED} Fewer than 5 patients: hidden." in text
    assert "Rare One" not in text


def test_gaps_of_means_that_leave_0_out_are_told_in_words(metrics):
    worst = metrics["pooled"]["by_site"]["disease"]["groups"]["Nordklinik"]["mean"]["roc_auc"]
    worst |= {"gap": -0.2, "gap_interval": [-0.3, -0.1]}
    text = words(subgroup_section(read_run(metrics)))
    assert f"Hospital Nordklinik: ROC-AUC {worst['value']:.3f}, others {worst['others']:.3f}." in text
    assert 'class="striking"' in subgroup_section(read_run(metrics))


def test_groups_of_each_hospitals_own_test_images_stand_by_hospital(metrics):
    section = subgroup_section(read_run(metrics))
    women = metrics["sites"]["Nordklinik"]["subgroups"]["disease"]["sex"]["groups"]["F"]
    value, (low, high) = women["mean"]["recall"], women["mean"]["recall"]["gap_interval"]
    table = words(section[section.index("X-ray findings by subgroup, at the hospitals") :])
    assert (
        f"Nordklinik of {metrics['sites']['Nordklinik']['subgroups']['disease']['sex']['unknown']} images not" in table
    )
    assert f"F {women['images']} {len(women['mean']['labels'])} of 14 {women['mean']['roc_auc']['value']:.3f}" in table
    signed = f"{value['value']:.3f} {value['gap']:+.3f} {low:+.3f} to {high:+.3f}"
    assert signed.replace("-", "\N{MINUS SIGN}") in table
    assert "These say nothing: St. Anna (no such column)." in table
    assert "These say nothing: St. Anna (keeps them to itself)." in table
    assert "Rare One" not in table


def test_gaps_at_a_hospital_that_leave_0_out_are_told_with_its_name(metrics):
    value = metrics["sites"]["Nordklinik"]["subgroups"]["disease"]["sex"]["groups"]["F"]["mean"]["recall"]
    value |= {"value": 0.5, "others": 0.8, "gap": -0.3, "gap_interval": [-0.4, -0.2]}
    assert "Nordklinik, Sex F: Sensitivity 0.500, others 0.800." in words(subgroup_section(read_run(metrics)))


def test_tables_of_many_hospitals_are_folded_and_a_run_of_before_has_none(metrics, run_metrics):
    many = subgroup_section(read_run(run_metrics(tuple(f"H{number}" for number in range(8)), 1)))
    assert '<details class="bulky"><summary>Sex, by hospital' in many
    assert "<details open><summary>Sex, by hospital" in subgroup_section(read_run(metrics))
    for site in metrics["sites"].values():
        del site["subgroups"]
    assert "at the hospitals" not in words(subgroup_section(read_run(metrics)))


def test_one_hospital_alone_is_no_subgroup_and_without_attributes_there_is_no_section(begun, run_metrics):
    alone = run_metrics(("Nord",), 1)
    assert "site" not in of_task(read_run(alone), "disease")
    alone["test"]["subgroups"] = alone["sites"]["Nord"]["subgroups"] = None
    assert subgroup_section(read_run(alone)) == ""
    assert subgroup_section(read_run(begun)) == ""


def test_the_model_card_tells_the_subgroups(metrics):
    entry = {
        "round": 8,
        "weights_sha256": "w",
        "facts_sha256": "f",
        "operating_points": None,
        "evaluation": {},
    }
    facts = {"name": "m", "findings": ["Mass"], "cancer_classes": ["normal"], "image_size": 64}
    card = model_card(facts, entry, read_run(metrics))
    value = metrics["test"]["subgroups"]["disease"]["sex"]["groups"]["M"]["mean"]["roc_auc"]
    assert f"| {value['value']:.3f} | {value['others']:.3f} | " in card
    assert f"| View LL | {UNDEFINED} | {UNDEFINED} | {UNDEFINED} | not compared |" in card
    group = metrics["sites"]["Nordklinik"]["subgroups"]["disease"]["sex"]["groups"]["M"]
    own = group["mean"]["roc_auc"]
    assert (
        f"| X-ray findings, Nordklinik | Sex M | {group['images']} | {own['value']:.3f} | {own['others']:.3f} | "
        in card
    )
    metrics["test"]["subgroups"] = metrics["pooled"] = None
    metrics["sites"] = {}
    assert "Not measured: the test images tell neither sex" in model_card(facts, entry, read_run(metrics))


def test_the_card_for_programs_holds_the_figures_of_the_table(metrics):
    found = card_facts(read_run(metrics), tested=True)
    value = metrics["test"]["subgroups"]["disease"]["sex"]["groups"]["M"]["mean"]
    told = found["subgroups"]["central"]["disease"]["sex"]["M"]
    assert (told["labels"], told["roc_auc"], told["recall"]) == (value["labels"], value["roc_auc"], value["recall"])
    assert found["subgroups"]["central"]["disease"]["view"]["LL"] == {
        "images": None,
        "labels": [],
        "reason": "Fewer than 5 patients: hidden.",
    }
    assert list(found["subgroups"]["hospitals"]["Nordklinik"]["disease"]) == ["sex", "age_years", "view", "scanner"]
    assert found["subgroups"]["hospitals"]["St. Anna"] == {"disease": {}}
    assert (
        found["hospitals"]["Nordklinik"]["cancer_accuracy"]
        == metrics["sites"]["Nordklinik"]["test"]["cancer"]["accuracy"]
    )
    assert any(limit.startswith("Too few test images to judge: ") and "Hernia" in limit for limit in found["limits"])
    untested = card_facts(read_run(metrics), tested=False)
    assert untested["subgroups"] is untested["hospitals"] is None
    assert untested["data"] == found["data"]
