import xml.etree.ElementTree

import pytest
from PIL import Image

from fedthorax.common.record.run import read_run
from fedthorax.common.report.plot_files import write_plots

NAMES = {"rounds", "scores-findings", "scores-classes", "roc-findings", "roc-classes", "reliability", "confusion"}


@pytest.mark.ci
def test_every_plot_is_there_as_svg_and_png(metrics, tmp_path):
    written = write_plots(tmp_path / "plots", read_run(metrics))
    assert {path.stem for path in written} == NAMES
    assert len(written) == 2 * len(NAMES)
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
                assert min(picture.size) > 300
        else:
            words = "".join(xml.etree.ElementTree.parse(path).getroot().itertext())
            assert {"rounds": "University Hospital South", "roc-findings": "Hernia", "confusion": "predicted"}.get(
                path.stem, ""
            ) in words


@pytest.mark.ci
def test_equal_metrics_give_equal_files(metrics, tmp_path):
    for folder in ("one", "two"):
        write_plots(tmp_path / folder, read_run(metrics))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.ci
@pytest.mark.parametrize("change", [{"test": None}, {"rounds": []}])
def test_what_was_not_measured_has_no_plot(metrics, tmp_path, change):
    names = {path.stem for path in write_plots(tmp_path, read_run({**metrics, **change}))}
    assert names == ({"rounds"} if change == {"test": None} else NAMES - {"rounds"})


def test_many_hospitals_are_grey_lines_and_a_median(run_metrics, tmp_path):
    write_plots(tmp_path, read_run(run_metrics(tuple(f"Hospital {number}" for number in range(9)), 2) | {"test": None}))
    words = (tmp_path / "rounds.svg").read_text(encoding="utf-8")
    assert "Median of the hospitals" in words
    assert "Hospital 4" not in words
