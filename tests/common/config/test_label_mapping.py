"""The mapping of a label file in the experiment."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedthorax.common.config.data import XraySource
from fedthorax.common.config.label_mapping import LabelMapping
from fedthorax.common.config.load import load_experiment, parse_experiment, to_yaml

WriteFile = Callable[..., Path]
NORTH = "data.hospitals.north.xray"

MAPPING = """\
file: Bild
view: Ansicht
present: [1, ja, true]
names: {Erguss: Effusion, Hernie: null}
uncertain_findings: {Mass: ones}
"""


def test_one_text_is_a_list_of_one_and_cells_are_text() -> None:
    mapping = LabelMapping.model_validate({"view": "Projection", "present": [1, "ja", True], "absent": []})
    assert (mapping.view, mapping.present, mapping.absent) == (("Projection",), ("1", "ja", "true"), ())


def test_a_mapping_stands_in_the_experiment_or_in_a_file_of_its_own(experiment_file: WriteFile) -> None:
    file = experiment_file()
    Path("mapping.yaml").write_text(MAPPING, encoding="utf-8")
    source = {"folder": "x", "mapping": "mapping.yaml"}
    by_file = load_experiment(file, [f"{NORTH}={json.dumps(source)}"])
    mapping = by_file.data.hospitals["north"].xray.mapping
    assert mapping is not None
    assert mapping.names == {"Erguss": "Effusion", "Hernie": None}
    by_value = load_experiment(file, [f"{NORTH}={json.dumps(source | {'mapping': mapping.model_dump(mode='json')})}"])
    assert by_value == by_file
    Path("mapping.yaml").unlink()
    assert parse_experiment(by_file.model_dump_json()) == by_file
    assert load_experiment(experiment_file(to_yaml(by_file))) == by_file


def test_a_message_may_not_name_a_file_to_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("file: x", encoding="utf-8")
    XraySource.model_validate({"folder": "x", "mapping": str(secret)})
    with pytest.raises(ValueError, match="mapping"):
        XraySource.model_validate_json(json.dumps({"folder": "x", "mapping": str(secret)}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mapping", "none.yaml", f"{NORTH}.mapping: none.yaml: cannot be read (No such file or directory); expected"),
        ("mapping", "broken.yaml", f"{NORTH}.mapping: broken.yaml: "),
        ("mapping", {"fiel": "x"}, f"{NORTH}.mapping.fiel: unknown key; did you mean `file`?"),
        ("mapping", {"uncertain": "maybe"}, "uncertain: expected ignore, ones or zeros, got 'maybe'"),
        ("mapping", {"present": ["x"], "absent": ["x"]}, "present and absent both hold 'x'; a cell can mean one thing"),
        (
            "mapping",
            {"names": {"Erguss": "Efusion"}},
            f"{NORTH}.mapping.names.Erguss names the finding 'Efusion', which labels.findings does not have",
        ),
        ("format", "chexprt", "format: expected auto, plain, nih, chexpert, padchest or mimic, got 'chexprt'"),
        ("patient_pattern", "(", "patient_pattern: '(' is not a regular expression: missing ), unterminated"),
        ("patient_pattern", r"(\d+)", r"'(\\d+)' has no group (?P<patient>…)"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused_with_its_place(
    experiment_file: WriteFile, key: str, value: object, message: str
) -> None:
    file = experiment_file()
    Path("broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\.north\.") as caught:
        load_experiment(file, [f"{NORTH}={json.dumps({'folder': 'x', key: value})}"])
    assert message in str(caught.value)
