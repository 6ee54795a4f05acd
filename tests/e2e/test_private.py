"""Private runs in real processes: what a hospital spends stands in its own log, and its limit ends its part."""

import pytest

from fedthorax.common.ground.audit import read_lines, verify
from fedthorax.common.privacy.accountant import epsilon, noise_multiplier
from fedthorax.simulations.phantom import phantom_arguments, write_phantom

from .consortium import consortium
from .test_masked import ONLY_MASKED

pytestmark = pytest.mark.slow

CONFIG = """\
name: private
seed: 5
labels:
  findings: [Cardiomegaly, Effusion, Pneumothorax, Nodule, Consolidation, Atelectasis]
  cancer_classes: [adenocarcinoma, large.cell.carcinoma, normal, squamous.cell.carcinoma]
data:
  hospitals:
    north: {xray: data/north/xray, ct: data/north/ct}
    south: {xray: data/south/xray, ct: data/south/ct}
  central: {xray: data/central/xray, ct: data/central/ct}
model: {backbone: EfficientNetLite0, image_size: 32, absent: token, projection: fixed, feature_units: 3,
        fusion_units: []}
training: {threads: 2, phases: [{rounds: 3, trainable: heads, learning_rate: 1.0}]}
federation: {unusual_updates: "off", min_sites: 1}
privacy: {mechanism: local, epsilon: 8, delta: 1e-3, sampling_rate: 0.5, steps: 6, patients: 10}
evaluation: {bootstrap_samples: 50}
"""


def test_a_hospital_takes_part_until_its_budget_is_spent(tmp_path):
    write_phantom(tmp_path / "data", phantom_arguments(["north", "south"], patients=16, image_size=48, seed=3))
    noise = noise_multiplier(8, 1e-3, 0.5, 6)
    two_rounds = epsilon(((0.5, noise, 4),), 1e-3)
    with consortium(tmp_path / "c", tmp_path / "data", ("north", "south")) as place:
        (tmp_path / "private.yaml").write_text(CONFIG, encoding="utf-8")
        for name, most in (("north", 100), ("south", two_rounds)):
            settings = place.site(name) / "site.yaml"
            limit = f"privacy: {{epsilon: {most}, delta: 0.001, mechanism: local}}"
            assert "\n  privacy: null" in settings.read_text()
            settings.write_text(settings.read_text().replace("\n  privacy: null", f"\n  {limit}"))
            place.stop(name)  # a worker reads its settings when it starts
            place.start_site(name)
        place.wait_connected()
        place.lead("run", "private.yaml")
        metrics = place.metrics("private")
        failures = [each for entry in metrics["rounds"] for each in entry["failures"]]
        assert {(each["site"], each["stage"]) for each in failures} == {("south", "train")}
        assert "2 more steps would exceed the hospital's limit (limits.privacy)" in failures[0]["reason"]
        assert metrics["privacy"]["steps_taken"] == {"north": 6, "south": 4}
        assert metrics["privacy"]["spent"]["south"] == pytest.approx(two_rounds)
        for name, steps in (("north", [2, 2, 2]), ("south", [2, 2])):
            log = place.site(name) / "state" / "privacy.jsonl"
            verify(log)
            assert [line["facts"]["steps"] for line in read_lines(log)] == steps
        assert {entry["sites"]["north"]["train"]["loss"] for entry in metrics["rounds"][1:]} == {None}
    assert place.processes() == []


def test_hospitals_whose_sum_alone_is_private_take_part_under_masks(tmp_path):
    names = ("north", "south", "west")
    write_phantom(tmp_path / "data", phantom_arguments(list(names), patients=16, image_size=48, seed=3))
    text = CONFIG.replace("  central:", "    west: {xray: data/west/xray, ct: data/west/ct}\n  central:")
    text = text.replace("mechanism: local", "mechanism: distributed").replace("steps: 6", "steps: 3")
    text = text.replace("min_sites: 1", "secure_aggregation: true").replace("name: private", "name: together")
    with consortium(tmp_path / "c", tmp_path / "data", names, settings=ONLY_MASKED) as place:
        (tmp_path / "together.yaml").write_text(text, encoding="utf-8")
        place.trust_each_other()
        place.lead("run", "together.yaml")
        metrics = place.metrics("together")
        assert metrics["privacy"]["shared"] == 2
        assert metrics["privacy"]["steps_taken"] == dict.fromkeys(names, 3)
        for entry in metrics["rounds"][1:]:
            assert entry["failures"] == []
            assert {site["masked"] for site in entry["sites"].values()} == {True}
        secrets = {(place.site(name) / "state" / "privacy.key").read_bytes() for name in names}
        assert len(secrets) == 3
    assert place.processes() == []
