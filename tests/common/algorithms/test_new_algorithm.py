"""docs/strategies.md shows a new algorithm with both halves: its file and its line in the table are all it takes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TESTS = ("tests/common/algorithms/test_algorithms.py", "tests/client/test_own_part.py")


@pytest.mark.slow
def test_the_algorithm_of_the_docs_is_one_file_and_one_line(tmp_path):
    for name in ("common", "client", "server", "simulations", "fedthorax", "tests", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    docs = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    (line,) = re.findall(r'`("fedcm": "fedcm")`', docs)
    package = tmp_path / "common" / "algorithms"
    (package / "fedcm.py").write_text(code, encoding="utf-8")
    table = (package / "__init__.py").read_text(encoding="utf-8")
    (package / "__init__.py").write_text(table.replace("TABLE = {\n", f"TABLE = {{\n    {line},\n"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", "fedcm"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^[4-9] passed", done.stdout, re.MULTILINE), done.stdout
