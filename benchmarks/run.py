"""The quick benchmarks, one after the other: ``make bench``. The long ones are
``benchmarks/codecs.py`` and ``benchmarks/real_data.py``."""

import runpy
from pathlib import Path

QUICK = ("aggregation.py", "hospitals_memory.py")

if __name__ == "__main__":
    for name in QUICK:
        print(f"== {name}", flush=True)
        runpy.run_path(str(Path(__file__).with_name(name)), run_name="__main__")
