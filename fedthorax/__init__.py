"""FedThorax: the repository's top-level folders under one import name.

``server``, ``client``, ``common`` and ``simulations`` lie inside this package once it is installed, and beside it in a
checkout or in a Flower bundle. ``server_app`` and ``client_app`` are what Flower loads; they import this package
first because Flower's simulation imports from two threads at once.
"""

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).parent
if not (_here / "common").is_dir():
    __path__.append(str(_here.parent))
