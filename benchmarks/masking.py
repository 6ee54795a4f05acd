"""What masks cost one hospital of many in a round: masking the update, dealing shares, and the second message.

    python benchmarks/masking.py --hospitals 3 10 50

The update has as many values as the default network; all hospitals contribute to all of it. Processor seconds of one
hospital, and of the server's sum of all hospitals; bytes of both messages up beside those of a plain update.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedthorax.common.algorithms.branchwise import Part
from fedthorax.common.masking.hospital import Masking
from fedthorax.common.masking.keys import raw
from fedthorax.common.masking.masks import add_mask
from fedthorax.common.masking.opening import Opening, domains_of
from fedthorax.common.masking.words import words_of
from fedthorax.common.messages.masking import MaskedTold, Unmasked

VALUES = 13_400_000  # of the default network with all of it trained
EXPERIMENT = "e" * 64


def measure(number: int, folder: Path) -> str:
    sites = [f"hospital-{place:02d}" for place in range(number)]
    identities = {site: Ed25519PrivateKey.generate() for site in sites}
    roster = {site: raw(key.public_key()).hex() for site, key in identities.items()}
    half = {
        site: Masking(folder / site / "masking.json", identities[site], roster, "run", site, EXPERIMENT, number, 3, 1)
        for site in sites
    }
    keys = {site: one.run_key(("fusion",)) for site, one in half.items()}
    opening = Opening(nonce="0" * 64, model={}, keys=keys)
    random = np.random.default_rng(0)
    before = {"fusion": random.normal(size=VALUES).astype(np.float32)}
    update = {"fusion": before["fusion"] + random.normal(scale=1e-3, size=VALUES).astype(np.float32)}
    parts, none = (Part("fusion", slice(0, VALUES), "fusion"),), {"fusion": ()}
    domains = domains_of(opening, parts, {"fusion": VALUES}, none, (), False, 3)
    groups = [domain.group for domain in domains]

    started = time.process_time()
    words = {0: words_of(domains[0], update, before, [100], number)}
    made = half[sites[0]].masked(1, opening, 0, 1e-3, groups, words)
    masking = time.process_time() - started

    small = np.zeros(1, np.uint64)  # the others' shares are as large whatever they mask
    dealt = {site: half[site].masked(1, opening, 0, 1e-3, groups, {0: small}).shares[sites[0]] for site in sites[1:]}
    dealt[sites[0]] = made.shares[sites[0]]
    started = time.process_time()
    shares = half[sites[0]].shares(1, made.context, sites, dealt)
    unmasking = time.process_time() - started

    total = words[0].copy()
    started = time.process_time()
    for _ in range(number):
        total += made.words[0]
        add_mask(total, bytes(32), -1)
    server = time.process_time() - started
    told = len(MaskedTold.of(made).model_dump_json()) + len(Unmasked.of(shares).model_dump_json())
    up = (8 * VALUES + told) / (4 * VALUES)
    return (
        f"{number:3d} hospitals: hospital {masking:.2f} s and {unmasking:.2f} s, server {server:.2f} s, "
        f"{up:.2f} times the bytes up ({told / 1000:.0f} kB beside the words)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, nargs="+", default=[3, 10, 50])
    for number in parser.parse_args().hospitals:
        with tempfile.TemporaryDirectory() as folder:
            print(measure(number, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
