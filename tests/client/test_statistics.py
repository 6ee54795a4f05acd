import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedthorax.client.statistics import BAD_KEY, NO_KEY, site_statistics
from fedthorax.client.worker import SiteWorker
from fedthorax.common.config.label_mapping import LabelsConfig
from fedthorax.common.config.load import load_experiment
from fedthorax.common.config.privacy import PrivacyConfig
from fedthorax.common.disclosure.duplicates import KINDS, new_key
from fedthorax.common.disclosure.sentences import error_outside
from fedthorax.common.ground.events import EventLog
from fedthorax.common.hospital.images import ImageSet, SiteImages, SplitImages
from fedthorax.common.issues.unusable import UnusableDataError
from fedthorax.common.messages.statistics import SiteStatistics, check_policy
from fedthorax.common.messages.tasks import DescribeTask, StatisticsTask
from fedthorax.common.records.records import Attributes

LABELS = LabelsConfig(findings=("Effusion", "Mass"), cancer_classes=("normal", "tumour"))
EXACT = PrivacyConfig(smallest_count=5, round_to=1)
WOMAN = Attributes(sex="F", age_years=34.9, view="PA", scanner="Acme One")
OLD_MAN = Attributes(sex="M", age_years=97.0, view="LL", scanner="Rare 7")


def image_set(targets, attributes=(), patients=None, level=100, prefix="x") -> ImageSet:
    """One 2 x 2 image of one grey level for each target."""
    number = len(targets)
    names = tuple(f"{prefix}{row}" for row in range(number))
    return ImageSet(
        images=np.full((number, 2, 2, 3), level, np.uint8),
        targets=targets,
        paths=tuple(Path(f"{name}.png") for name in names),
        patients=names if patients is None else tuple(patients),
        digests=names,
        attributes=tuple(attributes),
    )


def labelled(*rows: tuple[int, float, float]) -> np.ndarray:
    """``(how many, Effusion, Mass)`` as targets."""
    return np.array([labels for number, *labels in rows for _ in range(number)], np.float32).reshape(-1, 2)


def hospital(xray: ImageSet | None = None, ct: ImageSet | None = None) -> SiteImages:
    """All images in train; a modality that is not given is empty."""
    nothing = SplitImages(image_set(labelled()), image_set(np.zeros(0, np.int32), prefix="c"))
    train = SplitImages(xray or nothing.xray, ct or nothing.ct)
    return SiteImages("north", {"train": train, "valid": nothing, "test": nothing})


def statistics(site: SiteImages, policy: PrivacyConfig = EXACT, key: Path | None = None) -> SiteStatistics:
    told = site_statistics(site, LABELS, policy, 1, b"query", key)
    check_policy(told, policy)
    return told


def test_findings_are_counted_as_present_absent_and_unknown():
    told = statistics(hospital(image_set(labelled((20, 1, 0), (30, 0, np.nan)))))
    assert told.findings["Effusion"].cells == {"present": 20, "absent": 30, "unknown": 0}
    assert told.findings["Mass"].cells == {"present": 0, "absent": 20, "unknown": 30}
    assert (told.xray.images, told.xray.patients) == (50, 50)


def test_all_splits_count_together():
    part, nothing = image_set(labelled((20, 1, 0))), image_set(np.zeros(0, np.int32))
    site = SiteImages("north", {split: SplitImages(part, nothing) for split in ("train", "valid", "test")})
    assert statistics(site).findings["Effusion"].cells["present"] == 60


def test_classes_are_counted_with_the_unknown_ones():
    told = statistics(hospital(ct=image_set(np.repeat([0, 1, -1], [20, 10, 30]).astype(np.int32), prefix="c")))
    assert told.cancer_classes.cells == {"normal": 20, "tumour": 10, "unknown": 30}


def test_a_rare_finding_is_hidden_with_its_reason():
    table = statistics(hospital(image_set(labelled((2, 1, 0), (300, 0, 0)))), PrivacyConfig()).findings["Effusion"]
    assert table.cells == {"present": None, "absent": 300, "unknown": 0}
    assert table.reason.startswith("fewer than 5 patients have this label of this finding, or a count of so few")


def test_many_images_of_few_patients_are_hidden():
    targets = labelled((40, 1, 0), (60, 0, 0))
    told = statistics(hospital(image_set(targets, patients=[f"p{row % 3}" for row in range(40)] + list("q" * 60))))
    assert told.xray.images is None
    assert told.xray.intensity is None
    assert told.findings["Effusion"].cells == {"present": None, "absent": None, "unknown": None}
    assert told.xray.reasons["images"] == "fewer than 5 patients"


def test_sex_age_view_and_scanner_are_counted():
    told = statistics(hospital(image_set(labelled((80, 1, 0)), [WOMAN] * 60 + [Attributes()] * 20))).xray
    assert told.sex.cells == {"F": 60, "M": 0, "unknown": 20}
    assert {name: count for name, count in told.age.cells.items() if count} == {"18-39": 60, "unknown": 20}
    assert told.view.cells == {"PA": 60, "other": 0, "unknown": 20}
    assert told.scanner.cells == {"Acme One": 60, "other": 0, "unknown": 20}


def test_the_name_of_a_rare_scanner_does_not_leave():
    told = statistics(hospital(image_set(labelled((80, 1, 0)), [WOMAN] * 78 + [OLD_MAN] * 2))).xray
    assert told.scanner.cells == {"Acme One": None, "other": None, "unknown": 0}
    assert "Rare 7" not in told.model_dump_json()


def test_without_attributes_everything_is_unknown():
    assert statistics(hospital(image_set(labelled((20, 1, 0))))).xray.sex.cells == {"F": 0, "M": 0, "unknown": 20}


def test_sizes_are_those_of_the_files(tmp_path):
    images = image_set(labelled((30, 1, 0)))
    paths = tuple(tmp_path / path for path in images.paths)
    for path in paths:
        Image.new("L", (400, 300)).save(path)
    told = statistics(hospital(ImageSet(images.images, images.targets, paths, images.patients, images.digests)))
    assert {name: count for name, count in told.xray.shorter_side.cells.items() if count} == {"256 to 511": 30}


def test_intensities_stand_in_32_bins():
    told = statistics(hospital(image_set(labelled((20, 1, 0)), level=16))).xray
    assert [bin_ for bin_, share in enumerate(told.intensity) if share] == [2]
    assert told.halves_distance == 0


def test_an_empty_modality_is_zero_and_its_figures_undefined():
    told = statistics(hospital(image_set(labelled((20, 1, 0))))).ct
    assert (told.images, told.patients, told.intensity) == (0, 0, None)
    assert told.reasons == {"intensity": "no images", "halves_distance": "no images"}


def test_without_a_key_there_are_no_hashes(tmp_path):
    told = statistics(hospital(image_set(labelled((20, 1, 0)))))
    assert (told.duplicates, told.duplicates_reason) == (None, NO_KEY)


def test_with_a_key_there_are(tmp_path):
    told = statistics(hospital(image_set(labelled((20, 1, 0)))), key=new_key(tmp_path / "key"))
    assert [len(getattr(told.duplicates, kind)) for kind in KINDS] == [100, 0, 0, 0]  # one colour is alike nothing


def test_a_bad_key_is_reported_without_the_name_of_its_file(tmp_path):
    told = statistics(hospital(image_set(labelled((20, 1, 0)))), key=tmp_path / "missing")
    assert (told.duplicates, told.duplicates_reason) == (None, BAD_KEY)


def test_statistics_survive_the_journey_as_json():
    told = statistics(hospital(image_set(labelled((30, 1, 0)), [WOMAN] * 30)))
    assert SiteStatistics.model_validate_json(json.dumps(told.model_dump(mode="json"))) == told


@pytest.fixture
def worker_of(experiment_file):
    """A worker whose hospital has 30 X-rays, and its experiment as JSON."""

    def make(**settings):
        site = hospital(image_set(labelled((24, 1, 0), (6, 0, 0))))

        def no_network(experiment):
            raise AssertionError("statistics need no network")

        worker = SiteWorker(lambda *_: site, no_network, EventLog(None), **settings)
        return worker, load_experiment(experiment_file()).model_dump_json()

    return make


def test_the_worker_answers_without_a_network_and_by_the_consortiums_policy(worker_of):
    worker, experiment = worker_of()
    reply = worker.run(StatisticsTask(site="north", round=0, experiment=experiment, digest_key="00" * 32))
    assert reply.error is None
    assert reply.weights == {}
    told = reply.told.statistics.model_dump(mode="json")
    assert told["policy"] == {"smallest_count": 5, "round_to": 5}
    assert told["findings"]["Effusion"]["cells"] == {"present": 25, "absent": 5, "unknown": 0}


def test_the_hospitals_own_stricter_policy_wins(worker_of):
    worker, experiment = worker_of(privacy=PrivacyConfig(smallest_count=8, round_to=1))
    told = worker.run(
        StatisticsTask(site="north", round=0, experiment=experiment, digest_key="00" * 32)
    ).told.statistics.model_dump(mode="json")
    assert told["policy"] == {"smallest_count": 8, "round_to": 5}
    assert told["findings"]["Effusion"]["cells"]["absent"] is None


def test_a_real_hospital_rounds_its_passport_and_a_simulated_one_is_exact(experiment_file, tmp_path):
    experiment = load_experiment(experiment_file())
    findings, classes = experiment.labels.findings, len(experiment.labels.cancer_classes)
    targets = np.zeros((23, len(findings)), np.float32)
    targets[0] = 1.0
    site = hospital(image_set(targets), image_set(np.arange(12, dtype=np.int32) % classes, prefix="c"))
    site = SiteImages("north", site.splits, notes=("labels.csv: Smith is not understood",))
    task = DescribeTask(site="north", round=0, experiment=experiment.model_dump_json(), digest_key="00" * 32)
    told = {}
    for name, own in (("real", PrivacyConfig()), ("simulated", None)):
        worker = SiteWorker(lambda *_: site, lambda *_: None, EventLog(None), privacy=own, file_names=own is None)
        reply = worker.run(task)
        assert reply.error is None
        told[name] = reply.told.data.model_dump(mode="json")
    assert [told[name]["splits"]["train"]["xray"] for name in told] == [25, 23]
    assert told["real"]["pairing"]["pairs"] == told["simulated"]["pairing"]["pairs"] == 23
    assert "Smith" in json.dumps(told["simulated"])
    assert "Smith" not in json.dumps(told["real"])


def test_a_hospitals_reason_does_not_name_the_hospital_once_more(experiment_file):
    experiment = load_experiment(experiment_file())

    def broken(*_):
        raise UnusableDataError("north: 2 files cannot be used", ["file-truncated"])

    task = StatisticsTask(
        site="north", round=0, experiment=experiment.model_dump_json(), digest_key="00" * 32, run="r", deadline=0
    )
    assert SiteWorker(broken, lambda *_: None, EventLog(None)).run(task).error == "2 files cannot be used"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("labels.csv, line 3: Smith is no age"), "its folders or label files are not as expected"),
        (FileNotFoundError("/data/xray: no such folder"), "a file or folder that its settings name is not there"),
        (PermissionError(13, "Permission denied", "/data/smith.png"), "a file or folder may not be read"),
        (OSError(5, "Input/output error", "/data/smith.png"), "its disk cannot be read"),
        (UnusableDataError("smith.png is cut off", ["file-truncated"]), "the check finds file-truncated"),
    ],
)
def test_why_the_images_cannot_be_used_is_told_outside_in_general_and_inside_in_full(
    experiment_file, tmp_path, error, words
):
    experiment = load_experiment(experiment_file())

    def broken(*_):
        raise error

    task = DescribeTask(site="north", round=0, experiment=experiment.model_dump_json(), digest_key="00" * 32)
    with EventLog(tmp_path / "events.jsonl") as events:
        reply = SiteWorker(broken, lambda *_: None, events, privacy=PrivacyConfig(), file_names=False).run(task)
        open_one = SiteWorker(broken, lambda *_: None, events).run(task)
    assert (
        error_outside(reply.error)
        == reply.error
        == f"its images cannot be used: {words}; `fedthorax site check` there says which"
    )
    assert open_one.error == str(error)
    assert str(error) in json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["text"]
