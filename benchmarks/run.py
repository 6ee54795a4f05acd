"""The quick benchmarks, one after the other, each in a process of its own: ``make bench``.

The long ones are started by hand: ``round.py`` (Flower and NVFlare beside ours), ``codecs.py``, ``real_data.py``,
``real_consortium.py``, ``soak.py``, ``simulation.py``, ``growth.py``, ``server_memory.py``, ``unequal_hospitals.py``.
"""

import subprocess
import sys
import time
from pathlib import Path

QUICK = (
    ("aggregation.py",),
    ("first_step.py", "--repeats", "1"),
    ("training.py", "--size", "64", "--epochs", "3"),
    ("evaluation.py", "--image-size", "64", "--xrays", "32", "--slices", "32", "--repeats", "3"),
    ("hospitals_memory.py",),
)


def main() -> int:
    failed = []
    for name, *arguments in QUICK:
        print(f"== {' '.join([name, *arguments])}", flush=True)
        begun = time.monotonic()
        done = subprocess.run([sys.executable, str(Path(__file__).with_name(name)), *arguments], check=False)
        print(f"== {time.monotonic() - begun:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"error: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
