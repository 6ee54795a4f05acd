"""docs/strategies.md shows a new algorithm with both halves: its file and its line in the table are all it takes."""

import re

import pytest

from ...source import ROOT, copy_source, python

TESTS = ("tests/common/algorithms/test_algorithms.py", "tests/client/test_own_part.py")


@pytest.mark.slow
def test_the_algorithm_of_the_docs_is_one_file_and_one_line(tmp_path):
    copy_source(tmp_path)
    docs = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    (line,) = re.findall(r'`("fedcm": "fedcm")`', docs)
    package = tmp_path / "common" / "algorithms"
    (package / "fedcm.py").write_text(code, encoding="utf-8")
    table = (package / "__init__.py").read_text(encoding="utf-8")
    (package / "__init__.py").write_text(table.replace("TABLE = {\n", f"TABLE = {{\n    {line},\n"), encoding="utf-8")
    told = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", "fedcm")
    assert re.search(r"^[4-9] passed", told, re.MULTILINE), told
