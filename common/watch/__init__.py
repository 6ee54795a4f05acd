"""A run as a local web page that follows it; it only reads the run folder."""

from fedthorax.common.watch.server import WatchServer

__all__ = ["WatchServer"]
