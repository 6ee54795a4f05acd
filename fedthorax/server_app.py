"""Flower's way in to the server: ``serverapp`` in pyproject.toml."""

import fedthorax  # noqa: F401  waits, if another thread is still importing the package (see __init__)
from fedthorax.server.app import app

__all__ = ["app"]  # Flower reads the source before importing it and wants to see `app` here
