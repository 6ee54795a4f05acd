"""The record of a run: its types, its published schema, and one place for each figure."""

import json
from pathlib import Path

import pytest

from fedthorax.common.ground.strict_json import plain_value
from fedthorax.common.record.run import Run, read_run, run_schema
from fedthorax.common.record.run_folder import RunFolder

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_published_schema_is_that_of_the_types():
    """`python -m fedthorax.common.record.run > docs/metrics.schema.json` writes it anew."""
    assert json.loads((DOCS / "metrics.schema.json").read_text(encoding="utf-8")) == run_schema()


def test_the_documentation_names_every_field_of_a_run():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in Run.model_fields if f"`{name}`" not in text] == []


@pytest.fixture
def document(run_document):
    return run_document()


def test_what_is_not_finite_is_null_with_its_place(tmp_path, document):
    document["totals"]["seconds"] = float("nan")
    with RunFolder.create(tmp_path / "run") as folder:
        folder.write_metrics(document)
        read = folder.read_metrics()
    assert read["totals"]["seconds"] is None
    assert read["undefined"] == {"metrics.totals.seconds": "nan"}


@pytest.mark.parametrize(
    ("place", "wrong", "words"),
    [
        (("status",), "gone", "metrics.status: Input should be 'running'"),
        (("rows",), [], "metrics.rows: Extra inputs are not permitted"),
        (("totals", "bytes_sent"), "many", "metrics.totals.bytes_sent: Input should be a valid integer"),
    ],
)
def test_what_is_no_field_of_a_run_is_not_written(tmp_path, document, place, wrong, words):
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = wrong
    with RunFolder.create(tmp_path / "run") as folder, pytest.raises(ValueError, match=words):
        folder.write_metrics(document)


def test_a_run_of_the_version_before_is_opened_and_has_null_for_what_was_not_written_then(tmp_path, document):
    present = read_run(document)
    document |= {"schema_version": 2, "odd": 1}
    del document["pooled"], document["sites"]["Nord"]["personal"], document["sites"]["Nord"]["egress_head"]
    for entry in document["rounds"]:
        del entry["late"], entry["warnings"]
        entry["central"]["disease"]["macro"]["gini"] = 0.5
    (tmp_path / "metrics.json").write_text(json.dumps(plain_value(document)))
    assert RunFolder.load(tmp_path).read_run() == present


def test_files_that_an_older_run_left_out_have_a_fault_of_their_own_words(document):
    skipped = [{"file": "1.png", "reason": "it ends early"}, {"file": "3 files", "reason": "are empty", "count": 3}]
    document["sites"]["Nord"]["data"] = {"splits": {"train": {"xray": 7}}, "skipped": skipped, "patients": {"F": 3}}
    data = read_run({**document, "schema_version": 2}).sites["Nord"].data
    assert [(one.file, one.reason, one.count) for one in data.skipped] == [
        ("1.png", "it ends early", 1),
        ("3 files", "are empty", 3),
    ]
    assert (data.splits["train"].xray, data.splits["train"].ct, data.pairs) == (7, None, 0)


def test_what_an_older_run_must_have_written_is_asked_for(document):
    del document["seed"]
    with pytest.raises(ValueError, match=r"metrics\.seed: Field required"):
        read_run({**document, "schema_version": 2})
