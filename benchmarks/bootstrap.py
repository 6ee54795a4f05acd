"""Seconds of the bootstrap intervals of a full-size test: 14 findings, 25,000 X-rays of 8,000 patients, 1000 resamples.

python benchmarks/bootstrap.py
"""

import time

import numpy as np

from fedthorax.common.metrics.answers import finding_answers
from fedthorax.common.metrics.intervals import bootstrap

IMAGES, FINDINGS, PATIENTS, SAMPLES = 25_000, 14, 8_000, 1000


def main() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((IMAGES, FINDINGS)) < np.linspace(0.002, 0.2, FINDINGS)).astype(float)
    probability = 1 / (1 + np.exp(-(rng.normal(size=truth.shape) + truth)))
    patients = [f"p{number}" for number in rng.integers(0, PATIENTS, IMAGES)]
    started = time.perf_counter()
    bootstrap(finding_answers(truth, probability, [str(f) for f in range(FINDINGS)], 0.5, patients), SAMPLES, 0)
    print(f"{time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
