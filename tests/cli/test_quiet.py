"""What a command that imports TensorFlow writes to the terminal of somebody who has set nothing: nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOUD = """
import os
os.write(2, b"E0000 00:00:1795946903.594939 cuda_dnn.cc:8579] Unable to register cuDNN factory\\n")
"""
ASKING = """
import sys
from fedthorax.cli.quiet import quiet_libraries
quiet_libraries(), quiet_libraries()
import tensorflow
print({said!r}, file=sys.stderr)
"""


def told(said: str, **environment: str) -> str:
    """What a process that imports TensorFlow says on stderr, file descriptor 2."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "GLOG_", "GRPC_"))}
    command = [sys.executable, "-c", ASKING.format(said=said)]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_what_native_code_writes_while_it_is_imported_is_not_seen_and_what_comes_later_is(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text(LOUD)
    places = os.pathsep.join([str(tmp_path), *sys.path])
    assert told("afterwards", PYTHONPATH=places) == "afterwards\n"


def test_an_error_of_the_import_reaches_whoever_imports(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no such instruction')")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        told("afterwards", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert "ImportError: no such instruction" in caught.value.stderr


@pytest.mark.ci
def test_the_real_one_is_quiet() -> None:
    assert told("afterwards") == "afterwards\n"
