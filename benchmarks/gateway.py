"""What the gateway costs: hospitals that send a model's weights at once, through it and straight to what is behind it.

    .venv/bin/python benchmarks/gateway.py [--hospitals 16] [--mb 53]

Behind it stands a server that throws the bytes away, over TLS as the SuperLink. The senders and that server are threads
of this process, so the gateway's own processor time and memory count, less the seconds. Prints JSON.
"""

import argparse
import base64
import contextlib
import datetime
import hashlib
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import uvicorn
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedthorax.common.consortium.keys import new_private_key, node_key, public_key_text
from fedthorax.common.consortium.signed_call import BODY_HEADER, CALL_HEADER, sign_call
from fedthorax.server.consortium.folder import Hospital, create_consortium, write_hospitals

GATEWAY_PORT, SUPERLINK_PORT = 28443, 28000
PUSH = "/v1/fleet/push-object"


async def swallow(scope, receive, send):
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def headers(key, digest):
    stamp = datetime.datetime.now(datetime.UTC).isoformat()
    return {
        "flwr-public-key": base64.b64encode(node_key(public_key_text(key))).decode(),
        "flwr-timestamp": stamp,
        "flwr-signature": base64.b64encode(key.sign(stamp.encode(), ec.ECDSA(hashes.SHA256()))).decode(),
        BODY_HEADER: digest,
        CALL_HEADER: base64.b64encode(sign_call(key, stamp, "POST", PUSH, digest)).decode(),
    }


def seconds(url, trusted, keys, body):
    """Until the last of ``keys`` has sent ``body``."""
    context, digest = ssl.create_default_context(cafile=trusted), hashlib.sha256(body).hexdigest()

    def send(key):
        with httpx.Client(verify=context, trust_env=False, timeout=600) as client:
            client.post(url + PUSH, content=body, headers=headers(key, digest)).raise_for_status()

    started = time.perf_counter()
    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(send, keys))
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hospitals", type=int, default=16)
    parser.add_argument("--mb", type=int, default=53)
    arguments = parser.parse_args()
    keys = [new_private_key() for _ in range(arguments.hospitals)]
    body = b"w" * (arguments.mb * 2**20)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch)
        settings = f"name: bench\naddress: 127.0.0.1:{GATEWAY_PORT}\nsuperlink_port: {SUPERLINK_PORT}\n"
        (path / "consortium.yaml").write_text(settings)
        folder = create_consortium(path / "consortium.yaml", path / "bench")
        write_hospitals(folder, [Hospital(f"h{index}", public_key_text(key)) for index, key in enumerate(keys)])
        behind = uvicorn.Server(
            uvicorn.Config(
                swallow,
                port=SUPERLINK_PORT,
                log_config=None,
                lifespan="off",
                ws="none",
                ssl_certfile=folder.loopback_certificate,
                ssl_keyfile=folder.loopback_key,
            )
        )
        thread = threading.Thread(target=behind.run)
        thread.start()
        gateway = subprocess.Popen(
            [sys.executable, "-m", "fedthorax.server.consortium.gateway_process", str(folder.path)],
            stderr=subprocess.PIPE,
        )
        try:
            while True:  # until it answers
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", GATEWAY_PORT), 1):
                    break
                assert gateway.poll() is None, gateway.stderr.read().decode()
                time.sleep(0.1)
            process = psutil.Process(gateway.pid)
            at_rest = process.memory_info().rss
            result = {"hospitals": arguments.hospitals, "mb_each": arguments.mb, "cpus": psutil.cpu_count()}
            for name, some in (("one", keys[:1]), ("all", keys)):
                straight = seconds(f"https://127.0.0.1:{SUPERLINK_PORT}", folder.loopback_certificate, some, body)
                through = seconds(f"https://127.0.0.1:{GATEWAY_PORT}", folder.ca_certificate, some, body)
                result[name] = {
                    "straight_s": round(straight, 2),
                    "through_gateway_s": round(through, 2),
                    "through_gateway_mb_per_s": round(len(some) * arguments.mb / through),
                }
            result["gateway_memory_mb"] = {
                "at_rest": round(at_rest / 2**20),
                "after": round(process.memory_info().rss / 2**20),
            }
            result["gateway_cpu_s"] = round(sum(process.cpu_times()[:2]), 2)
            print(json.dumps(result, indent=1))
        finally:
            gateway.terminate()
            gateway.wait()
            behind.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
