"""The events of a worker on another host, copied into this host's run/events.jsonl so that they are shown here too."""

import threading
from collections.abc import Mapping
from pathlib import Path

import grpc

from fedthorax.client.site.worker_client import open_channel, watch_worker

RETRY_S = 5.0


def mirror_events(node_config: Mapping[str, str], events: Path, stop: threading.Event) -> None:
    """Follow the worker until ``stop`` is set; after a break its whole log comes again, and the copy begins anew."""
    while not stop.is_set():
        try:
            with open_channel(node_config) as channel, events.open("w", encoding="utf-8") as copy:
                for line in watch_worker(channel):
                    copy.write(line + "\n")
                    copy.flush()
                    if stop.is_set():
                        return
        except (grpc.RpcError, OSError, KeyError):
            pass  # a worker that is away is the SuperNode's and the server's concern; here it only shows nothing
        stop.wait(RETRY_S)
